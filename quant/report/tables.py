"""The cost table behind a run, found by the digest that the run has noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quant.files import sha256
from quant.report.results import TableName
from synth.table import CostTable, CostTableError

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


def find_table(name: TableName, given: Sequence[Path]) -> FoundTable:
    """Return the table whose file has the digest that a run has noted.

    Parameters
    ----------
    name : TableName
        As the run has it.
    given : sequence of Path
        Files of the user's, looked at before the shipped ones.
    """
    others = []
    for path in [*given, *sorted(SHIPPED.glob("*.json"))]:
        if sha256(path) == name.sha256:
            try:
                return FoundTable(table=CostTable.load(path))
            except CostTableError as error:
                return FoundTable(reason=f"{error}.")
        if path.name == name.file:
            others.append(path.name)
    found = "a file of that name is another version" if others else "no such file was given"
    return FoundTable(
        reason=f"The cost table {name.file} of this run (SHA-256 {name.sha256[:16]}…) is not here: "
        f"{found}. Name it with --cost-table FILE."
    )
