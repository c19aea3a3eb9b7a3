"""Records from the summary of an earlier benchmark, such as the committed one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from quant.bench.document import expanded
from quant.bench.work import Setup, Work
from quant.errors import QuantError
from quant.files import write_json


def restore(summary: Path, needed: Iterable[Work], setup: Setup) -> int:
    """Write records of cells that a summary has under the same key; returns how many.

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
        return 0
    missing = {work.key: work for work in needed if work.known() is None}
    layers = {work.cell.model: tuple(setup.sizes(work.cell.model)) for work in missing.values()}
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        entries = {entry["key"]: entry for entry in content["cells"] if entry["key"] in missing}
        records = {
            key: expanded(entry, content["machines"], layers[missing[key].cell.model])
            for key, entry in entries.items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise QuantError(
            f"{summary}: must be a summary of this benchmark, as its cells are taken from there; "
            "delete it or name another with --report"
        ) from error
    for key, record in records.items():
        write_json(missing[key].path, record)
    return len(records)
