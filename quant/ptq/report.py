"""What a run shows on the terminal at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hw.cli.tables import figures, print_table


def print_report(result: Mapping[str, Any], out: Path) -> None:
    """Print the layers, and the network's accuracy and size."""
    console = Console()
    print_table(layer_table(result), console)
    for line in summary(result, out):
        console.print(line, markup=False, soft_wrap=True)


def layer_table(result: Mapping[str, Any]) -> Table:
    """Table of layers: bits, errors of their outputs, seconds, bytes."""
    title = f"{result['model']}: {result['method'].removeprefix('ptq-')}, relative output error"
    table = figures(title, "layer", "bits", "nearest", "optimised", "s", "bytes")
    for layer in result["layers"]:
        table.add_row(
            layer["name"],
            str(layer["bits"]),
            f"{layer['nearest_error']:.3g}",
            f"{layer['error']:.3g}",
            f"{layer['seconds']:.2f}",
            f"{layer['packed_bytes']:,}",
        )
    seconds = sum(layer["seconds"] for layer in result["layers"])
    table.add_row("all", "", "", "", f"{seconds:.2f}", f"{result['packed_bytes']:,}")
    return table


def summary(result: Mapping[str, Any], out: Path) -> list[str]:
    """Return the lines below the table."""
    before, after = result["accuracy"]["float"], result["accuracy"]["searched"]
    images, recipe = result["data"]["images"], result["recipe"]
    kind = "in integers" if result["accuracy_of_integers"] else "in fake quantisation"
    acts = "float" if recipe["act_bits"] is None else f"{recipe['act_bits']} bit"
    lines = [
        f"top-1 on {images['test']:,} test images: float {100 * before:.2f} %, quantised "
        f"{100 * after:.2f} % ({kind}), activations {acts}; {images['calibration']} calibration "
        "images",
        f"{result['packed_bytes']:,} bytes packed (weights, and 8 a channel for bias, multiplier, "
        f"shift), weights {result['relative_size']:.3f} of 8 bit -> {out}",
    ]
    if result["array_packed_bytes"] != result["packed_bytes"]:
        lines.append(
            f"{result['array_packed_bytes']:,} bytes as the array packs them, weights of 3 bit as 4"
        )
    integers = result["integer_network"]
    if integers["folder"] is None:
        lines.append(f"no integer network: {integers['reason']}")
    return lines
