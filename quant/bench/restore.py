"""Records from the summary of an earlier benchmark, such as the committed one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.bench.document import compact, expanded
from quant.bench.work import Setup, Work
from quant.errors import QuantError


@dataclass(frozen=True, kw_only=True)
class Restorable:
    """What a summary has of the records that are not there.

    Parameters
    ----------
    records : dict of str to (Path, dict)
        Files and contents, by key.
    lost : int
        Cells of the summary that have no record under the keys of now.
    """

    records: dict[str, tuple[Path, dict[str, Any]]]
    lost: int


def restorable(summary: Path, needed: Iterable[Work], setup: Setup) -> Restorable:
    """Return records of cells that a summary has, under the same key and all that is kept of one.

    Parameters
    ----------
    summary : Path
        JSON file of `quant.bench.document`; it need not be there.
    needed : iterable of Work
        Cells; those that have a record keep it.
    setup : Setup
        Where everything comes from.

    Raises
    ------
    QuantError
        If the file is not such a summary; one line.
    """
    if not summary.is_file():
        return Restorable(records={}, lost=0)
    works = list(needed)
    keys = {work.key for work in works}
    missing = {work.key: work for work in works if work.known() is None}
    layers = {work.cell.model: tuple(setup.sizes(work.cell.model)) for work in missing.values()}
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        entries, machines = content["cells"], content["machines"]
        names = [entry["key"] for entry in entries]
    except (ValueError, LookupError, TypeError) as error:
        raise QuantError(
            f"{summary}: must be a summary of this benchmark, as its cells are taken from there; "
            "delete it or name another with --report"
        ) from error
    records = {}
    for key, entry in zip(names, entries, strict=True):
        if (work := missing.get(key)) is not None:
            record = _record(entry, machines, layers[work.cell.model], work)
            if record is not None:
                records[key] = work.path, record
    held = (keys - set(missing)) | set(records)
    return Restorable(records=records, lost=sum(key not in held for key in names))


def _record(
    entry: dict[str, Any], machines: list[Any], layers: tuple[str, ...], work: Work
) -> dict[str, Any] | None:
    """Return a record; None where it does not make the same entry again."""
    try:
        record = expanded(entry, machines, layers)
        again = compact(work.cell, record, machines)
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return record if {**again, "cell": entry["cell"]} == entry else None
