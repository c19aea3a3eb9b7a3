"""Tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quant.report.quantities import MISSING, Unit


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell.

    Parameters
    ----------
    text : str
        What is read.
    exact : str
        The figure as the run's file has it, for programs; empty if it is no figure.
    mark : str
        Style: ``good``, ``bad``, or nothing.
    """

    text: str
    exact: str = ""
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names its rows.

    Parameters
    ----------
    caption : str
        What it shows.
    columns : sequence of str
        Headings.
    rows : sequence of sequence of Cell
        As long as `columns`.
    textual : frozenset of int
        Columns of words, which are not aligned as figures; the first always is one.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    textual: frozenset[int] = frozenset()

    def is_text(self, column: int) -> bool:
        """Whether a column has words, not figures."""
        return column == 0 or column in self.textual


def figure(value: float | None, unit: Unit) -> Cell:
    """Return a figure in a column's unit."""
    return Cell(text=unit.bare(value), exact="" if value is None else repr(value))


def share(value: float | None, decimals: int = 2) -> Cell:
    """Return a fraction in percent, without the sign."""
    return (
        Cell(text=MISSING)
        if value is None
        else Cell(text=f"{100 * value:.{decimals}f}", exact=repr(value))
    )


def words(text: str, mark: str = "") -> Cell:
    """Return a cell of words."""
    return Cell(text=text, mark=mark)


def heading(name: str, unit: Unit) -> str:
    """Return a column's heading with its unit."""
    return f"{name}, {unit.name}" if unit.name else name
