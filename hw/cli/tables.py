"""Tables on the terminal, with every name and every figure whole."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 10_000
"""Columns of characters; more than a table has."""


def figures(title: str, *columns: str) -> Table:
    """Make a table of figures, without rows.

    Parameters
    ----------
    title : str
        Above it.
    columns : str
        Headers: of the names, at the left, then of the figures.
    """
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left")
    return table


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table and a blank line, its text as it is.

    Where it does not fit, rich would cut figures short. Here headers break at spaces instead, and
    columns move together, for good; if that is not enough, it is wider than the terminal.

    Parameters
    ----------
    table : Table
        With rows.
    console : Console, optional
        Where to; standard output by default.
    """
    console = console or Console()
    plain = Console(file=console.file, width=console.width, markup=False, emoji=False)
    if _width(table, plain) > plain.width:
        table.padding = 0
        for column in table.columns:
            column.header = str(column.header).replace(" ", "\n")
        plain.width = max(_width(table, plain), plain.width)
    plain.print(table)
    plain.print()


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=WIDEST), table).maximum
