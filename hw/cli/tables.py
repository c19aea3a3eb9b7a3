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
    """Print a table and a blank line; where it does not fit, rich would cut its figures short.

    Here its headers break at spaces instead, and its columns move together; if that is not enough,
    it is wider than the terminal.

    Parameters
    ----------
    table : Table
        With rows.
    console : Console, optional
        Where to; standard output by default.
    """
    console = console or Console()
    if _width(table, console) > console.width:
        table.padding = 0
        for column in table.columns:
            column.header = str(column.header).replace(" ", "\n")
        width = max(_width(table, console), console.width)
        console = Console(file=console.file, width=width)
    console.print(table)
    console.print()


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(width=WIDEST), table).maximum
