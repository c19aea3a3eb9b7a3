"""Energy of an integer network, layer by layer: ``python -m synth.network DIR``.

Tiles of every layer, with the network's own weights and the activations of its example images, run
on the netlists of the array gate by gate; beside it what the cost table says of the same layer.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from hw.catalog import named
from hw.cli.command import beside, command_app
from hw.cli.tables import figures, print_table
from hw.config import ArrayConfig
from hw.files import write_bytes, write_json
from hw.mapping import ConvShape
from hw.precision import WeightMode
from hw.schedule import GemmShape, layer_schedule
from sim import folder, golden, network
from sim.folder import Conv, FolderError, IntegerNetwork
from synth import operands
from synth.bench import Bench
from synth.candidates import energies
from synth.characterise import Characterised, characterise
from synth.command import BenchOptions, document_header, one_line, refuse, takes_bench_options
from synth.costs.arrays import ArrayFigures
from synth.mapping import Measured
from synth.model import run_features
from synth.operands import Operands
from synth.recording import record_job
from synth.table import CostTable, complete

GROUPS = 8
GROUP_PIXELS = 8
"""Of each of so many images so many pixels in a row, as an array's tiles take them."""

OUTPUTS = 16
BLOCK = 8
"""Channels of a depthwise layer that are sampled, the one of median mean activation among them."""

LIMIT = 0.10
"""Largest relative error of the energy of all layers."""

TABLE = Path(__file__).parent / "tables" / "nangate45-default.json"


def gemm_shape(shape: ConvShape) -> GemmShape:
    """Matrix products of a convolution."""
    return GemmShape(
        pixels=shape.out_h * shape.out_w,
        depth=shape.taps * (shape.in_channels // shape.groups),
        outputs=shape.out_channels // shape.groups,
        groups=shape.groups,
    )


def sampled(net: IntegerNetwork, images: NDArray[np.uint8], *, seed: int) -> dict[str, Any]:
    """Sample the operands of every layer, in the format of `synth.operands`.

    Parameters
    ----------
    net : IntegerNetwork
        The network.
    images : uint8 [N, H, W, C]
        At least `GROUPS` of them.
    seed : int
        Of the places of the groups.

    Returns
    -------
    dict
        Arrays ``act/<layer>``, ``weight/<layer>/<mode>`` and ``macs/<layer>``.
    """
    random = np.random.default_rng(seed)
    maps = dict(network.tensors(net, images[:GROUPS]))
    shapes = {step.name: net.graph.conv_shape(step) for step in net.graph.convs}
    total = sum(shape.macs for shape in shapes.values())
    arrays: dict[str, Any] = {}
    for step in net.graph.convs:
        act, weight = _matrices(net, step, maps[step.input])  # [images, pixels, K], [K, M]
        tiles = max(1, act.shape[1] // GROUP_PIXELS)
        starts = random.integers(0, tiles, size=GROUPS) * GROUP_PIXELS
        groups = [act[i, first : first + GROUP_PIXELS] for i, first in enumerate(starts)]
        arrays[f"act/{step.name}"] = np.concatenate(groups).astype(np.uint8)
        arrays[f"weight/{step.name}/{step.mode.name}"] = weight
        arrays[f"macs/{step.name}"] = np.array(shapes[step.name].macs / total)
    return arrays


def _matrices(net: IntegerNetwork, step: Conv, act: Any) -> tuple[Any, NDArray[np.int8]]:
    """Activations [images, pixels, K] and weights [K, M] as an array takes them.

    Of a depthwise layer a block of channels, of another grouped one the first group.
    """
    shape, weight = net.graph.conv_shape(step), net.layers[step.name].weight
    if shape.groups == shape.in_channels == shape.out_channels > 1:
        order = np.argsort(act.mean(axis=(0, 1, 2)))
        first = int(order[len(order) // 2]) // BLOCK * BLOCK
        act, by_tap = act[..., first : first + BLOCK], weight[..., 0, first : first + BLOCK]
        width = by_tap.shape[-1]
        diagonal = by_tap.reshape(-1, width)[:, None] * np.eye(width, dtype=np.int8)[None]
        matrix = diagonal.reshape(-1, width)  # K over taps, then the block's channels
    else:
        inputs, outputs = shape.in_channels // shape.groups, shape.out_channels // shape.groups
        act = act[..., :inputs]
        matrix = weight[..., : min(outputs, OUTPUTS)].reshape(-1, min(outputs, OUTPUTS))
    rows = golden.im2col(
        network.padded_map(step, act, net.graph.tensors[step.input].zero_point),
        kernel=(step.kernel_h, step.kernel_w),
        stride=step.stride,
    )
    return rows.reshape(len(act), -1, rows.shape[1]), matrix.astype(np.int8)


def written(arrays: Mapping[str, Any], path: Path) -> Operands:
    """Write operands to a file, and read them as `synth` takes them."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_bytes(path, content.getvalue())
    return operands.load(path)


def layer_energies(
    net: IntegerNetwork,
    found: Characterised,
    own: Operands,
    table: CostTable,
    config: ArrayConfig,
    bench: Bench,
) -> list[dict[str, Any]]:
    """Energy of one inference of every layer, pJ: measured, and as the table says."""
    modes = sorted({step.mode for step in net.graph.convs}, key=lambda mode: mode.bits)
    recordings = {mode: record_job(config, mode, own, products=bench.products) for mode in modes}
    bench.runner.run(list(recordings.values()), label=f"{config.name}: simulate {own.name}")
    label = f"{config.name}: energy on {own.name}"
    spent = energies(found.chosen, recordings, config, bench, label=label)
    seen = {mode: run_features(own, mode, config, products=bench.products) for mode in modes}
    rows = []
    for step in net.graph.convs:
        mode, shape = step.mode, gemm_shape(net.graph.conv_shape(step))
        place = list(seen[mode]).index(step.name)
        by_module = {module: spent[module, mode] for module in found.chosen}
        measured = energy_pj(shape, mode, found.cost, by_module, place)
        predicted = table.layer_cost(shape, mode, features=seen[mode][step.name]).array_energy_pj
        assert predicted is not None
        rows.append(
            {
                "layer": step.name,
                "bits": step.weight_bits,
                "measured_pj": round(measured, 1),
                "predicted_pj": round(predicted, 1),
                "error": round(predicted / measured - 1, 4),
            }
        )
    return rows


def energy_pj(
    shape: GemmShape,
    mode: WeightMode,
    array: ArrayFigures,
    spent: Mapping[str, Measured],
    place: int,
) -> float:
    """Energy of one inference of a layer from the measured steps of its tiles.

    Parameters
    ----------
    shape : GemmShape
        The layer.
    mode : WeightMode
        Precision of its weights.
    array : ArrayFigures
        For the schedule and the counts of modules.
    spent : mapping of str to Measured
        By module.
    place : int
        Of the layer among the measured runs.
    """
    plan = layer_schedule(shape, mode, array.config)
    active = idle = 0.0
    for module, energy in spent.items():
        count = array.modules[module].count
        busy = plan.pe_utilisation if module == "pe" else 1.0
        step = busy * energy.runs[place].step_fj + (1 - busy) * energy.idle_fj
        active += count * step / 1000
        idle += count * energy.idle_fj / 1000
    return plan.active_cycles * active + plan.idle_cycles * idle


def shown(name: str, rows: list[dict[str, Any]], total: dict[str, float]) -> Table:
    """Table of the layers' energies."""
    columns = ("bits", "gate level/nJ", "cost table/nJ", "error")
    table = figures(f"{name}: energy of the array, an inference", "layer", *columns)
    for row in [*rows, {"layer": "all", "bits": "", **total}]:
        energies = (f"{row[key] / 1000:.2f}" for key in ("measured_pj", "predicted_pj"))
        table.add_row(row["layer"], str(row["bits"]), *energies, f"{100 * row['error']:+.1f} %")
    return table


@takes_bench_options(
    "operand_file", "clock_ns", "liberty_file", "products", "cache", "workers", "cluster"
)
def main(
    network_folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Integer network: `python -m quant.export`.")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="JSON file to write.")] = None,
    config: Annotated[
        str, typer.Option("--hardware", help="Configuration of hw.catalog.")
    ] = "edge",
    cost_table: Annotated[Path, typer.Option(help="Cost table of that array.")] = TABLE,
    seed: Annotated[int, typer.Option(help="Of the sampled pixels.")] = 0,
    *,
    options: BenchOptions,
) -> None:
    """Measure the energy of a network's layers gate by gate; exit 1 if the table is 10 % off."""
    with one_line("synth.network"):
        try:
            net = folder.load(network_folder)
            images, _ = folder.load_examples(network_folder, net.graph)
        except FolderError as error:
            raise ValueError(str(error)) from error
        if len(images) < GROUPS:
            raise ValueError(
                f"{network_folder}: examples must be {GROUPS} or more, not {len(images)}"
            )
        array, table = named(config).array, CostTable.load(cost_table)
        if complete(table.array).config != array:
            raise ValueError(
                f"{cost_table} must be of {array.name} as {config} has it, not another"
            )
        bench = options.bench()
        name = net.graph.name
        own = written(
            sampled(net, images, seed=seed), options.cache.resolve() / "operands" / f"{name}.npz"
        )
        rows = layer_energies(net, characterise(array, bench), own, table, array, bench)
        measured, predicted = (
            sum(row[key] for row in rows) for key in ("measured_pj", "predicted_pj")
        )
        total = {
            "measured_pj": round(measured, 1),
            "predicted_pj": round(predicted, 1),
            "error": round(predicted / measured - 1, 4),
        }
        if out is not None:
            write_json(
                out,
                document_header("synth.network", bench.library, own)
                | {
                    "network": name,
                    "arrays_sha256": net.graph.arrays_sha256,
                    "cost_table": table.name,
                    "clock_period_ns": bench.period_ns,
                    "layers": rows,
                    "all": total,
                },
                indent=1,
            )
    print_table(shown(name, rows, total))
    if abs(total["error"]) > LIMIT:
        refuse("synth.network", [f"error of all layers must be at most {100 * LIMIT:g} %"])


app = command_app(main, name="synth.network", place=beside("out"))

if __name__ == "__main__":
    app()
