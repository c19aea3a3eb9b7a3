"""The cost table behind a run, found by the digest that the run has noted.

Looked for among the files that the user names, the path in the run's config.yaml, and those that
are shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hw.cli.command import CONFIG_NAME
from quant.files import sha256
from quant.report.results import TableName
from synth.table import CostTable, CostTableError

OPTION = "cost-table"
SHIPPED = Path(__file__).parents[2] / "synth" / "tables"


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundTable:
    """A run's cost table, or why there is none to show.

    Parameters
    ----------
    table : CostTable, optional
        With the very digest of the run.
    reason : str
        Why there is none; empty if there is one.
    """

    table: CostTable | None = None
    reason: str = ""


def find_table(name: TableName, given: Sequence[Path], folder: Path) -> FoundTable:
    """Return the table whose file has the digest that a run has noted.

    Parameters
    ----------
    name : TableName
        As the run has it.
    given : sequence of Path
        Files of the user's, looked at first.
    folder : Path
        That of the run, whose config.yaml may name a file.
    """
    noted = noted_tables(folder)
    others = []
    for path in [*given, *_places(noted, folder), *sorted(SHIPPED.glob("*.json"))]:
        if sha256(path) == name.sha256:
            try:
                return FoundTable(table=CostTable.load(path))
            except CostTableError as error:
                return FoundTable(reason=f"{error}.")
        if path.name == name.file:
            others.append(path.name)
    named = next((path for path in noted if path.name == name.file), None)
    if others:
        found = "a file of that name is another version"
    elif named is not None:
        found = f"{CONFIG_NAME} of the run names {named}, which is not there any more"
    else:
        found = "no such file was given"
    return FoundTable(
        reason=f"The cost table {name.file} of this run (SHA-256 {name.sha256[:16]}…) is not here: "
        f"{found}. Name it with --cost-table FILE."
    )


def noted_tables(folder: Path) -> list[Path]:
    """Return the cost tables that a run's config.yaml names; none if it names none."""
    try:
        document = yaml.safe_load((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return []  # the page does not depend on it
    found = document.get(OPTION) if isinstance(document, dict) else None
    return [Path(entry) for entry in (found if isinstance(found, list) else [found])
            if isinstance(entry, str)]  # fmt: skip


def _places(noted: Sequence[Path], folder: Path) -> list[Path]:
    """Return the files that are there; paths are from where the run began, this folder or above."""
    above = [Path(), *folder.resolve().parents]
    found = [base / path for path in noted for base in above]
    return [path for path in dict.fromkeys(found) if path.is_file()]
