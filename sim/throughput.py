"""Throughput of the accelerator's RTL: ``python -m sim.throughput``, half an hour.

Matrix products of 128 x 128 x 576 in each mode, results compared with the golden model and cycles
with the timeline; and every layer of the shipped networks, cycles compared. What was measured on
the same design before is kept, so that an interrupted command goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer

from hw.accelerator import Accelerator
from hw.catalog import named
from hw.cli.command import beside, command_app, complain
from hw.files import write_json
from hw.mapping import ConvShape
from hw.precision import WeightMode
from hw.timeline import LayerTimes
from hw.verilog import to_verilog
from sim.bench.accelerator_bench import expected_times
from sim.bench.accelerator_job import AcceleratorJob
from sim.bench.hollow import HollowPE
from sim.bench.layers import LayerSpec, make_layers
from sim.bench.runner import run_bench

ROOT = Path(__file__).parents[1]
NETWORKS = Path(__file__).parent / "networks.json"
PIXELS, OUTPUTS, DEPTH = 128, 128, 576


def gemm_job(config: str, mode: WeightMode) -> AcceleratorJob:
    """Describe the matrix product, with operands that leave no digit plane empty."""
    shape = ConvShape.gemm(pixels=PIXELS, depth=DEPTH, outputs=OUTPUTS)
    return AcceleratorJob(
        config=named(config), specs=(LayerSpec(shape=shape, mode=mode, seed=576),), seed=1
    )


def network_job(config: str, network: str) -> AcceleratorJob:
    """Describe a network's layers, modes in turn; cycles only."""
    layers = json.loads(NETWORKS.read_text(encoding="utf-8"))[network]
    modes = list(WeightMode)
    specs = tuple(
        LayerSpec(
            shape=ConvShape(**{key: value for key, value in layer.items() if key != "name"}),
            mode=modes[index % len(modes)],
            seed=index,
        )
        for index, layer in enumerate(layers)
    )
    return AcceleratorJob(config=named(config), specs=specs, seed=1, compare=False)


def utilisation(job: AcceleratorJob, layer: LayerTimes) -> float:
    """Products of a layer over what the array could do from its first step to its last sum."""
    spec, array = job.specs[0], job.config.array
    peak = array.rows * array.cols * array.chunk_depth(spec.mode) / array.steps(spec.mode)
    return spec.shape.macs / (peak * layer.cycles)


def measure(job: AcceleratorJob, verilog: str) -> dict[str, Any]:
    """Run a job in simulation; the bench compares results and counters."""
    report = run_bench(
        verilog,
        top="accelerator",
        bench="sim.bench.accelerator_bench",
        job=job.to_json(),
        build=ROOT / "build" / "throughput",
    )
    return dict(report["counters"])


def run_gemm(job: AcceleratorJob, verilog: str) -> dict[str, Any]:
    """Measure a matrix product and its utilisation."""
    counters = measure(job, verilog)
    layer = expected_times(make_layers(list(job.specs), job.config), job.config).layers[0]
    return {
        "counters": counters,
        # by the timeline, to which the bench compared first step and last sum
        "cycles_first_step_to_last_sum": layer.cycles,
        "utilisation": round(utilisation(job, layer), 5),
    }


def run_network(job: AcceleratorJob, verilog: str) -> dict[str, Any]:
    """Measure a network's layers."""
    return {"counters": measure(job, verilog)}


def main(
    config: Annotated[
        str, typer.Option("--hardware", help="Configuration of the catalogue.")
    ] = "edge",
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file.")] = ROOT
    / "docs"
    / "throughput.json",
) -> None:
    """Measure in simulation; every finished run is written at once."""
    try:
        chosen = named(config)
    except ValueError as error:
        complain(f"sim.throughput: {error}")
        raise typer.Exit(2) from error
    typer.echo(f"writing the Verilog of {config}, with PEs and without", err=True)
    real = to_verilog(Accelerator(chosen), name="accelerator")
    with mock.patch("hw.array.make_pe", HollowPE):
        hollow = to_verilog(Accelerator(chosen), name="accelerator")
    design = hashlib.sha256((real + hollow).encode()).hexdigest()
    runs: dict[str, Callable[[], dict[str, Any]]] = {}
    for mode in WeightMode:
        job = gemm_job(config, mode)
        runs[f"gemm {PIXELS}x{OUTPUTS}x{DEPTH} {mode.name}"] = partial(run_gemm, job, real)
    for network in json.loads(NETWORKS.read_text(encoding="utf-8")):
        job = network_job(config, network)
        runs[f"{network}, modes in turn, PEs hollow"] = partial(run_network, job, hollow)
    result: dict[str, Any] = {}
    if output.exists():
        try:
            result = json.loads(output.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            typer.echo(
                f"sim.throughput: {output} must be what this command wrote, but cannot be read "
                f"({error}): name another file with -o",
                err=True,
            )
            raise typer.Exit(2) from error
    if result.get("design_sha256") != design:
        command = shlex.join(["python", "-m", "sim.throughput", *sys.argv[1:]])
        result = {"command": command, "config": config, "design_sha256": design, "runs": {}}
    for name, run in runs.items():
        if name in result["runs"]:
            typer.echo(f"{name}: measured before, on the same gateware", err=True)
            continue
        try:
            result["runs"][name] = run()
        except AssertionError as error:
            typer.echo(f"sim.throughput: {name}: {error}", err=True)
            raise typer.Exit(1) from error
        write_json(output, result)
        typer.echo(f"{name}: {result['runs'][name]}")
    typer.echo(f"{output}")


app = command_app(main, name="sim.throughput", place=beside("output"))

if __name__ == "__main__":
    app()
