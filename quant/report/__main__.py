"""``python -m quant.report RUN...``: one HTML page about one or several runs.

Exit status: 0, or 2 for bad input (one line on stderr).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import command_app, complain
from hw.cli.output import tell
from quant.errors import QuantError
from quant.report.records import DEFAULT_FOLDERS
from synth.table import CostTable, CostTableError

BAD_INPUT = 2
NAME = "report.html"
EXAMPLES = (
    "sigmaquant report runs/mine",
    "sigmaquant report runs/mine runs/other --output both.html",
    "sigmaquant report runs/mine --cost-table mine.json",
)


def page_path(runs: list[Path], output: Path | None) -> Path:
    """Return where the page goes."""
    return output or (runs[0] / NAME if len(runs) == 1 else Path(NAME))


def check_page_path(path: Path) -> None:
    """Refuse a place where no page can be.

    Raises
    ------
    QuantError
        If it is a folder, or something above it is a file; one line.
    """
    if path.is_dir():
        raise QuantError(
            f"{path}: output must be a file, not a folder; name one in it, such as {path / NAME}"
        )
    above = next((parent for parent in path.parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise QuantError(f"{path}: output must be in a folder, and {above} is a file; name another")


def main(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of finished searches, or of ptq."),
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
    """Write a page that shows what runs have found, what it costs and what was checked."""
    from hw.files import write_text
    from quant.report.page import page
    from quant.report.runs import read_run

    path = page_path(runs, output)
    try:
        found = [read_run(run) for run in runs]
        check_page_path(path)
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
        complain(f"quant.report: {error}")
        raise typer.Exit(BAD_INPUT) from None
    size = len(text.encode())
    line = f"{len(found)} run{'s' * (len(found) != 1)}, {size:,} bytes -> {path}"
    typer.echo(line)
    tell(line, {"runs": [str(run) for run in runs], "page": str(path), "bytes": size})


app = command_app(
    main,
    name="report",
    place=lambda given: page_path(given["runs"], given["output"]).with_suffix(".config.yaml"),
    tells=True,
    examples=EXAMPLES,
)

if __name__ == "__main__":
    app()
