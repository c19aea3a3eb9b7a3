"""The integer network of a run, for hardware and for others' tools.

``python -m quant.export RUN --format integer|onnx|qonnx|verilog-memh --out DIR``
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hw.cli.command import command_app, complain
from hw.cli.output import STOPPED, tell
from hw.cli.tables import figures, print_table
from quant.catalogue import check_model, is_foreign, is_onnx
from quant.errors import QuantError
from quant.formats.run_record import RESULT_NAME, Checked, data_folder, read_result
from quant.formats.staging import staged
from quant.integer_check import check, read_integers, with_channels
from quant.run_folder import INTEGER_FOLDER
from quant.sources import open_data
from sim import folder as integers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


DEFAULT_MODEL = "resnet8"
"""Whose images a folder of integers is checked on, where no result.json names its network."""
CHECKED_IMAGES = 100
"""Test images on which an exported file is held to the golden model."""


FORMAT, CHECK = "Format", "Check"
"""Groups of options in --help."""
EXAMPLES = (
    "sigmaquant export runs/mine --format onnx --out net --check",
    "sigmaquant export runs/mine --format verilog-memh --hardware tiny --out memory",
)


class Format(Enum):
    """What is written; the value is on the command line."""

    INTEGER = "integer"
    ONNX = "onnx"
    QONNX = "qonnx"
    VERILOG_MEMH = "verilog-memh"


def summary(network: integers.IntegerNetwork) -> Table:
    """Table of layers, precisions and packed bytes."""
    table = figures(f"{network.graph.name}: integer network", "layer", "bits", "weights", "bytes")
    sizes = network.packed_bytes
    for step in network.graph.convs:
        count = network.layers[step.name].weight.size
        table.add_row(step.name, str(step.weight_bits), f"{count:,}", f"{sizes[step.name]:,}")
    table.add_row("all", "", "", f"{sum(sizes.values()):,}")
    return table


@dataclass(frozen=True, kw_only=True)
class Told:
    """What to tell of an export.

    Parameters
    ----------
    written : tuple of str
        A line for each thing written.
    checked : tuple of str
        A line for each check.
    """

    written: tuple[str, ...]
    checked: tuple[str, ...] = ()

    def at(self, folder: Path, out: Path) -> Told:
        """Return the same with another folder's name."""
        written, checked = (
            tuple(line.replace(str(folder), str(out)) for line in lines)
            for lines in (self.written, self.checked)
        )
        return Told(written=written, checked=checked)


def write_integers(
    run: Path, network: integers.IntegerNetwork, out: Path, *, verify: bool, data: Path | None
) -> Told:
    """Write the folder of integers."""
    checked = (check(run, data, Console(stderr=True)),) if verify else ()
    network.save(out)
    source = run if (run / integers.GRAPH_NAME).is_file() else run / INTEGER_FOLDER
    integers.save_examples(out, *integers.load_examples(source, network.graph))
    disk = sum(path.stat().st_size for path in out.iterdir())
    return Told(written=(f"{disk:,} bytes on disk -> {out}",), checked=checked)


def write_onnx(
    run: Path,
    network: integers.IntegerNetwork,
    out: Path,
    *,
    form: Format,
    opset: int | None,
    verify: bool,
    data: Path | None,
) -> Told:
    """Write ONNX or QONNX.

    Raises
    ------
    QuantError
        If the packages are missing, the network has no such form, or `verify` finds a difference.
    """
    try:
        from quant.formats.compare import compare as compare_file
        from quant.formats.files import ONNX, QONNX, export
    except ImportError as error:
        raise QuantError(
            f"format {form.value} must have the packages of the extra onnx, but: {error}; "
            "pip install 'sigmaquant[onnx]'"
        ) from error
    forms = ONNX if form is Format.ONNX else QONNX
    record = export(network, forms, out, opset=opset)
    written = tuple(
        f"{out / file['file']}: {file['initialiser_bytes']:,} bytes of initialisers, "
        f"{file['file_bytes']:,} in all; {file['form']}"
        for file in record["files"]
    )
    if not verify:
        return Told(written=written)
    images = checked_images(run, data)
    spec = network.graph.tensors[network.graph.input]
    if images.shape[1:] != (spec.height, spec.width, spec.channels):
        raise QuantError(
            f"images must be {spec.height} x {spec.width} x {spec.channels}, as the network takes, "
            f"not {' x '.join(map(str, images.shape[1:]))}; name their data with --data"
        )
    checked = tuple(compare_file(network, form, out, images) for form in forms)
    return Told(written=written, checked=checked)


def checked_images(run: Path, data: Path | None) -> NDArray[np.uint8]:
    """Return the test images on which files are checked, uint8 [N, H, W, C]."""
    import numpy as np

    from quant.data import default_folder

    folder, model = data or default_folder(), DEFAULT_MODEL
    if (run / RESULT_NAME).is_file():
        result = read_result(run, Checked)
        folder, model = data_folder(run, result.data.folder, data), result.model
        if not is_onnx(model) and not is_foreign(model):  # those need not be here for their images
            check_model(model)
    test = open_data(folder, model).test
    return with_channels(test.pixels(np.arange(min(CHECKED_IMAGES, len(test)))))


def write_memory(network: integers.IntegerNetwork, out: Path, *, config: str, verify: bool) -> Told:
    """Write the accelerator's memory images.

    Raises
    ------
    sim.folder.FolderError
        If a layer does not fit, or `verify` finds another integer in the files.
    """
    from sim.memory_check import check as check_images
    from sim.memory_images import INDEX_NAME, write

    index = write(network, config, out)
    count = sum(len(layer.files) for layer in index.layers)
    written = f"{count} memory images and {INDEX_NAME} for configuration {config} -> {out}"
    if not verify:
        return Told(written=(written,))
    compared = check_images(network, config, out)
    checked = f"{out}: all {compared:,} integers of {count} memory images are the network's"
    return Told(written=(written,), checked=(checked,))


def write(
    run: Path,
    network: integers.IntegerNetwork,
    out: Path,
    *,
    form: Format,
    verify: bool,
    data: Path | None,
    opset: int | None,
    config: str,
) -> Told:
    """Write an export in a format, and check it if asked; the options are those of the command."""
    if form is Format.INTEGER:
        return write_integers(run, network, out, verify=verify, data=data)
    if form is Format.VERILOG_MEMH:
        return write_memory(network, out, config=config, verify=verify)
    return write_onnx(run, network, out, form=form, opset=opset, verify=verify, data=data)


def place(given: Mapping[str, Any]) -> Path:
    """Return where the configuration of an export goes, one for each format in a folder."""
    return Path(given["out"]) / f"export-{given['form'].value}.config.yaml"


def main(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished search, or of an integer network.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="What to write; docs/export.md has each.", rich_help_panel=FORMAT
        ),
    ] = Format.INTEGER,
    verify: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare with torch at every layer, on all test images; ONNX files with the "
            f"golden model, on {CHECKED_IMAGES}; memory images with the integers.",
            rich_help_panel=CHECK,
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="As of the search; that of the run by default.", rich_help_panel=CHECK),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(
            help="Version of ONNX's operators; by default the lowest that has all types needed.",
            rich_help_panel=FORMAT,
        ),
    ] = None,
    config: Annotated[
        str,
        typer.Option(
            "--hardware",
            help="Accelerator of hw.catalog, of the memory images.",
            rich_help_panel=FORMAT,
        ),
    ] = "edge",
) -> None:
    """Write a run's integers in a format, and say how many bytes they take."""
    console = Console()
    try:
        if opset is not None and form not in (Format.ONNX, Format.QONNX):
            raise QuantError(f"opset must come with --format onnx or qonnx, not {form.value}")
        network = read_integers(run)
        with staged(out) as folder:
            try:
                told = write(
                    run, network, folder, form=form, verify=verify, data=data, opset=opset,
                    config=config,
                ).at(folder, out)  # fmt: skip
            except (integers.FolderError, QuantError) as error:
                raise type(error)(str(error).replace(str(folder), str(out))) from error
            files = sorted(path.name for path in folder.iterdir())
    except (QuantError, integers.FolderError, ValueError, OSError) as error:
        complain(f"quant.export: {error}")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        typer.echo(f"quant.export: stopped; nothing was written to {out}", err=True)
        raise typer.Exit(STOPPED) from error
    print_table(summary(network), console)
    packed = sum(network.packed_bytes.values())
    head = f"{packed:,} bytes packed (weights, and 8 a channel for bias, multiplier, shift)"
    for line in [head, *told.written, *told.checked]:
        console.print(line, markup=False, soft_wrap=True)
    tell(
        "; ".join(told.checked or told.written),
        {
            "network": network.graph.name,
            "format": form.value,
            "folder": str(out),
            "packed_bytes": packed,
            "layers": network.packed_bytes,
            "files": files,
            "told": [*told.written, *told.checked],
        },
    )


app = command_app(main, name="export", place=place, tells=True, examples=EXAMPLES)

if __name__ == "__main__":
    app()
