"""Whole images on the accelerator's RTL: ``python -m sim.cosim DIR --images 4 --hardware edge``.

The integer network of DIR runs layer by layer under Verilator, through the AXI ports, each layer's
results held to the golden model and its cycles to `hw.timeline`.
"""

from __future__ import annotations

import functools
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hw.accelerator import Accelerator
from hw.accelerator_config import AcceleratorConfig
from hw.catalog import named
from hw.cli.command import beside, command_app, complain
from hw.cli.output import tell
from hw.cli.tables import figures, print_table
from hw.files import write_json
from hw.precision import WeightMode
from hw.verilog import to_verilog
from sim import folder, network
from sim.bench.network_job import Fault, NetworkJob
from sim.bench.runner import run_bench
from sim.folder import Conv, FolderError, IntegerNetwork
from sim.lower import lower, order

EXAMPLES = (
    "sigmaquant cosim sim/networks/resnet8 --images 4",
    "sigmaquant cosim net --hardware tiny --images 1 --output cosim.json",
    "sigmaquant cosim net --fault stem:weight   (to see that an error is found)",
)
BUILD = Path(__file__).parents[1] / "build" / "cosim"


def check_fit(net: IntegerNetwork, config: AcceleratorConfig) -> None:
    """Refuse a network with a layer that does not fit, before anything is built.

    Raises
    ------
    FolderError
        Names the layer.
    """
    spec = net.graph.tensors[net.graph.input]
    blank = np.zeros((1, spec.height, spec.width, spec.channels), np.uint8)
    maps = dict(network.tensors(net, blank))
    for step in order(net.graph):
        if isinstance(step, Conv):
            lower(net, step, maps[step.input][0], config)


@functools.cache
def _verilog(config: AcceleratorConfig) -> str:
    return to_verilog(Accelerator(config), name="accelerator")


def cosimulate(
    job: NetworkJob, *, simulator: str = "verilator", build: Path = BUILD
) -> dict[str, Any]:
    """Run a job; returns the bench's report and the seconds it took.

    Raises
    ------
    FolderError
        If the folder cannot be read or the network does not fit.
    ValueError
        If there is no such configuration, or there are fewer examples.
    AssertionError
        If a result or a cycle differs; the text names the layer.
    """
    config, net = named(job.config), folder.load(job.folder)
    images, _ = folder.load_examples(job.folder, net.graph)
    if not 1 <= job.images <= len(images):
        raise ValueError(f"images must be from 1 to {len(images)}, the examples, not {job.images}")
    names = [step.name for step in net.graph.convs]
    if job.fault is not None and job.fault.layer not in names:
        raise ValueError(f"fault must be in one of {', '.join(names)}, not {job.fault.layer!r}")
    check_fit(net, config)
    began = time.perf_counter()
    report = run_bench(
        _verilog(config),
        top="accelerator",
        bench="sim.bench.network_bench",
        job=job.to_json(),
        build=build,
        simulator=simulator,
    )
    return report | {"seconds": round(time.perf_counter() - began, 1)}


def peak(config: AcceleratorConfig, bits: int) -> float:
    """Multiply-accumulates of a cycle in which every lane works, at a precision."""
    array, mode = config.array, WeightMode.from_bits(bits)
    return array.rows * array.cols * array.chunk_depth(mode) / array.steps(mode)


def summary(report: dict[str, Any]) -> Table:
    """Table of the layers of the first image, and totals."""
    config = named(report["config"])
    columns = ("bits", "RTL", "timeline", "steps", "stalls", "used", "acts")
    title = f"{report['network']} on {report['config']}: cycles of an image"
    table = figures(title, "layer", *columns)
    layers = report["images"][0]["layers"]
    for layer in layers:
        used = layer["macs"] / (peak(config, layer["bits"]) * layer["cycles"])
        table.add_row(
            layer["layer"],
            str(layer["bits"]),
            f"{layer['cycles']:,}",
            f"{layer['timeline_cycles']:,}",
            f"{layer['steps']:,}",
            f"{layer['stalls']:,}",
            f"{100 * used:.1f} %",
            "kept" if layer["kept_acts"] else "sent",
        )
    totals = [sum(layer[key] for layer in layers) for key in ("cycles", "timeline_cycles", "steps")]
    table.add_row("all", "", *(f"{total:,}" for total in totals), "", "", "")
    return table


def main(
    network_folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Integer network: `python -m quant.export`.")
    ],
    images: Annotated[int, typer.Option(help="Of the examples in DIR, the first so many.")] = 4,
    config: Annotated[
        str, typer.Option("--hardware", help="Accelerator of hw.catalog: tiny, edge or large.")
    ] = "edge",
    fault: Annotated[
        str,
        typer.Option(
            metavar="LAYER:FIELD",
            help="Flip a bit of a layer's weight, multiplier or descriptor, to see it found.",
        ),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file of all counters.")
    ] = None,
) -> None:
    """Run images on the RTL, compare every layer, print cycles and classes."""
    try:
        job = NetworkJob(
            folder=network_folder.resolve(),
            config=config,
            images=images,
            fault=Fault.parse(fault) if fault else None,
        )
        report = cosimulate(job)
    except (FolderError, ValueError, OSError) as error:
        complain(f"sim.cosim: {error}")
        raise typer.Exit(2) from error
    except AssertionError as error:
        complain(f"sim.cosim: {error}")
        raise typer.Exit(1) from error
    console = Console()
    print_table(summary(report), console)
    for index, image in enumerate(report["images"]):
        right = "right" if image["class"] == image["label"] else f"label {image['label']}"
        cycles = sum(layer["cycles"] for layer in image["layers"])
        console.print(f"image {index}: class {image['class']} ({right}), {cycles:,} cycles")
    net = folder.load(job.folder)
    hosted = [step.name for step in net.graph.steps if step.kind != "conv"]
    console.print(
        f"all results equal the golden model's, all cycles the timeline's; {report['seconds']} s. "
        f"On the host: {', '.join(hosted) or 'nothing'}, argmax.",
        markup=False,
    )
    command = shlex.join(["python", "-m", "sim.cosim", *sys.argv[1:]])
    document = {"command": command, "arrays_sha256": net.graph.arrays_sha256} | report
    if output is not None:
        write_json(output, document, indent=1)
        console.print(f"{output}", markup=False)
    count = len(report["images"])
    tell(
        f"{count} image{'s' * (count != 1)} of {report['network']} on {report['config']}: all "
        "results equal the golden model's, all cycles the timeline's",
        document,
    )


app = command_app(main, name="cosim", place=beside("output"), tells=True, examples=EXAMPLES)

if __name__ == "__main__":
    app()
