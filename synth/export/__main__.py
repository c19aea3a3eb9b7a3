"""Write a cost table for other tools: ``python -m synth.export TABLE --format FORMAT --out PATH``.

Exit status: 0 written, 2 bad input (one line on stderr).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hw.cli.command import beside, command_app, complain
from hw.files import write_bytes
from synth.export import accelergy, haq
from synth.export.figures import csv_text
from synth.export.shapes import load_layers
from synth.table import CostTable, CostTableError

NETWORKS = Path(__file__).parents[2] / "sim" / "networks.json"
BAD_INPUT = 2


class Format(StrEnum):
    """What can be written."""

    CSV = "csv"
    ACCELERGY = "accelergy"
    HAQ = "haq"


def exported(
    table: CostTable, form: Format, out: Path, *, shapes: Path, network: str
) -> dict[Path, bytes]:
    """Return the files of an export and what they hold.

    Raises
    ------
    CostTableError, ValueError
        If the table, the layers or the name of the file do not fit the format.
    """
    match form:
        case Format.CSV:
            return {out: csv_text(table).encode()}
        case Format.ACCELERGY:
            return {
                out / "ERT.yaml": accelergy.ert_text(table).encode(),
                out / "ART.yaml": accelergy.art_text(table).encode(),
            }
        case Format.HAQ:
            writers = {".json": haq.json_bytes, ".npz": haq.npz_bytes}
            if out.suffix not in writers:
                raise ValueError(f"out must end in .json or .npz for haq, not {out.name}")
            return {out: writers[out.suffix](table, load_layers(shapes, network))}


def main(
    path: Annotated[Path, typer.Argument(metavar="TABLE", help="Cost table.")],
    form: Annotated[
        Format,
        typer.Option("--format", help="csv, accelergy (a folder with ERT and ART) or haq."),
    ],
    out: Annotated[Path, typer.Option(help="File to write; for accelergy a folder.")],
    shapes: Annotated[
        Path, typer.Option(help="For haq: JSON file of layers (python -m quant.shapes).")
    ] = NETWORKS,
    network: Annotated[str, typer.Option(help="For haq: the network in that file.")] = "",
) -> None:
    """Write a cost table as CSV, for Accelergy, or as a look-up of layer costs."""
    try:
        files = exported(CostTable.load(path), form, out, shapes=shapes, network=network)
        for written, content in files.items():
            write_bytes(written, content)
    except (CostTableError, ValueError, OSError) as error:
        complain(f"synth.export: {error}")
        raise typer.Exit(BAD_INPUT) from None
    for written in files:
        typer.echo(f"{written}")


app = command_app(main, name="synth.export", place=beside("out"))

if __name__ == "__main__":
    app()
