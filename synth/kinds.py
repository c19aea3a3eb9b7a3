"""All kinds of PE in one flow at one clock: ``python -m synth.kinds``.

Every array makes 512 products a cycle at 8-bit weights, except that of serial shift-add MACs, whose
products depend on the weights and on how long columns wait for each other.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from hw.config import ArrayConfig, PEKind
from hw.csd import shift_add_cycles
from hw.precision import WeightMode
from hw.yosys import YosysError
from synth import cells, liberty, operands
from synth.activity import SimulationError
from synth.cache import CACHE, characterised, tools
from synth.characterise import PRODUCTS, Bench, ClockError, designs_sha256
from synth.operands import Operands, sample_tiles
from synth.report import MODES
from synth.table import ArrayCost, ArrayParameters

FOLDER = Path(__file__).parent


def kinds() -> dict[str, ArrayConfig]:
    """Return an array of every kind, by name."""
    default = ArrayConfig()
    return {
        "booth_digit": ArrayConfig(pe=PEKind.BOOTH_DIGIT),
        "bit_pair": ArrayConfig(pe=PEKind.BIT_PAIR),
        "radix4_digit": ArrayConfig(pe=PEKind.RADIX4_DIGIT),
        "bit_plane": ArrayConfig(pe=PEKind.BIT_PLANE, lanes=64),
        "digit_planes": ArrayConfig(pe=PEKind.DIGIT_PLANES),
        # as many columns as channels are sampled of each layer, so that their waiting is counted
        "shift_add": ArrayConfig(
            pe=PEKind.SHIFT_ADD, rows=32, cols=8, lanes=1, drain_rows=8, double_buffered=False
        ),
        "int8_mac": default.int8_equivalent(),
        "int8_dot": default.int8_dot_equivalent(),
    }


def entry(array: ArrayCost, sampled: Operands) -> dict[str, Any]:
    """Return the figures of an array, by weight mode where they depend on it.

    `steps` are cycles per product of a lane, and `waiting` those of them in which it waits for
    other columns. A waiting column costs what an idle one costs: nothing in it moves.
    """
    config = array.config
    steps, waiting = {}, {}
    for mode in MODES:
        if config.pe.traits.skips_zeros:
            steps[mode], waiting[mode] = _shift_add_steps(sampled, mode, config)
        else:
            steps[mode] = config.rows * config.cols * config.lanes / array.macs_per_cycle(mode)
            waiting[mode] = 0.0
    lanes = config.rows * config.cols * config.lanes
    energy_pj = {
        mode: (steps[mode] - waiting[mode]) * array.energy_pj(mode)
        + waiting[mode] * array.idle_energy_pj
        for mode in MODES
    }
    return {
        "parameters": ArrayParameters.of(config).model_dump(mode="json"),
        "registers": [stage.value for stage in config.stages],
        "design_sha256": designs_sha256([config]),
        "area_um2": round(array.area_um2),
        "min_period_ns": round(array.min_period_ns, 3),
        "steps": {mode.name: round(steps[mode], 3) for mode in MODES},
        "waiting": {mode.name: round(waiting[mode], 3) for mode in MODES},
        "um2_per_mac_per_cycle": {
            mode.name: round(array.area_um2 * steps[mode] / lanes, 1) for mode in MODES
        },
        "fj_per_mac": {mode.name: round(1000 * energy_pj[mode] / lanes, 1) for mode in MODES},
    }


def _shift_add_steps(
    sampled: Operands, mode: WeightMode, config: ArrayConfig
) -> tuple[float, float]:
    """Mean cycles of a weight, waiting included, and those of them in which its column waits."""
    cycles = np.vectorize(lambda weight: shift_add_cycles(int(weight), config.max_shift))
    tiles = sample_tiles(sampled, mode, config, products=PRODUCTS)
    own = np.concatenate([cycles(tile.weight[:, 0]) for tile in tiles]).mean()
    slowest = sum(
        layer.share * cycles(layer.weight[mode][:, : config.cols]).max(axis=1).mean()
        for layer in sampled.layers.values()
    ) / sum(layer.share for layer in sampled.layers.values())
    return float(slowest), float(slowest - own)


def markdown(document: dict[str, Any]) -> str:
    """Return the comparison as a Markdown table."""
    header = ["kind", "array", "registers", "min period ns"]
    header += [f"um2 per MAC/cycle W{mode.bits}" for mode in MODES]
    header += [f"fJ per MAC W{mode.bits}" for mode in MODES]
    lines = ["| " + " | ".join(header) + " |", "|---|---|---" + "|---:" * (len(header) - 3) + "|"]
    for name, kind in document["kinds"].items():
        parameters = kind["parameters"]
        line = [name, "{rows}x{cols}x{lanes}".format(**parameters)]
        line += [", ".join(kind["registers"]), f"{kind['min_period_ns']:.2f}"]
        line += [f"{kind['um2_per_mac_per_cycle'][mode.name]:.0f}" for mode in MODES]
        line += [f"{kind['fj_per_mac'][mode.name]:.0f}" for mode in MODES]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def main(
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("docs") / "pe-kinds.json",
    operand_file: Annotated[
        Path, typer.Option("--operands", help="Sampled operands of a network.")
    ] = FOLDER / "operands" / "resnet8.npz",
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 1.65,
    cache: Annotated[
        Path, typer.Option(help="Where finished arrays are kept; a rerun takes them from there.")
    ] = CACHE,
) -> None:
    """Map an array of every kind of PE to NanGate 45 nm; write and print what they cost."""
    console = Console(stderr=True)
    try:
        library, sampled = liberty.load(liberty.nangate45()), operands.load(operand_file)
        document: dict[str, Any] = {
            "command": shlex.join(["python", "-m", "synth.kinds", *sys.argv[1:]]),
            "tools": tools(),
            "library": {"name": library.name, "sha256": library.sha256},
            "operands": {"name": sampled.name, "sha256": sampled.sha256},
            "clock_period_ns": clock_ns,
            "methods": "area synthesised, period static timing, energy gate-level activity",
            "kinds": {},
        }
        with tempfile.TemporaryDirectory(prefix="sigmaquant-synth-") as folder:
            bench = Bench(
                library=library,
                operands=sampled,
                period_ns=clock_ns,
                folder=Path(folder),
                workers=os.cpu_count() or 1,
                report=lambda line: console.print(f"[dim]{line}[/dim]"),
            )
            for name, config in kinds().items():
                array, recipes = characterised(config, bench, cache)
                document["kinds"][name] = entry(array, sampled) | {"recipes": recipes}
        temporary = out.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(out)
    except (
        ValueError,
        OSError,
        ClockError,
        SimulationError,
        YosysError,
        cells.LibertyError,
        operands.OperandError,
    ) as error:
        typer.echo(f"synth.kinds: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(markdown(document))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
