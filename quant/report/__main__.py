"""``python -m quant.report RUN...``: one HTML page about one or several runs.

Exit status: 0, or 2 for bad input (one line on stderr).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from quant.errors import QuantError
from quant.report.records import DEFAULT_FOLDERS
from synth.table import CostTable, CostTableError

BAD_INPUT = 2
NAME = "report.html"


def main(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of finished searches.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=f"HTML file; {NAME} in the run's folder, or here."),
    ] = None,
    cost_table: Annotated[
        list[Path] | None,
        typer.Option(help="Cost table of a run, if it is not a shipped one; again for others."),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="Folders with records of checks; docs and build of this checkout."),
    ] = None,
) -> None:
    """Write a page that shows what searches have found, what it costs and what was checked."""
    from hw.files import write_text
    from quant.report.page import page
    from quant.report.runs import read_run

    path = output or (runs[0] / NAME if len(runs) == 1 else Path(NAME))
    try:
        found = [read_run(run) for run in runs]
        for table in cost_table or ():
            CostTable.load(table)
        for folder in records or ():
            if not folder.is_dir():
                raise QuantError(f"{folder}: records must be a folder, and is none")
        text = page(
            found,
            tables=cost_table or (),
            record_folders=records or DEFAULT_FOLDERS,
            command=shlex.join(["python", "-m", "quant.report", *sys.argv[1:]]),
        )
        write_text(path, text)
    except (QuantError, CostTableError, OSError) as error:
        typer.echo(f"quant.report: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    typer.echo(f"{len(found)} run{'s' * (len(found) != 1)}, {len(text.encode()):,} bytes -> {path}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
