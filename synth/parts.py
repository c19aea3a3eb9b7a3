"""Area and energy of arrays by part: ``python -m synth.parts -o docs/parts.json``.

Modules are mapped by the recipes that the committed cost table chose for bit pairs and the INT8 dot
product (`RECIPES`), loaded as in the cost tables, and replayed on what they saw while a column of
the array worked on real tiles. A picture goes beside the JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from math import fsum
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.yosys import YosysError
from synth import liberty, operands
from synth.activity import SimulationError
from synth.breakdown import Part, PartCost, by_part
from synth.cache import tools
from synth.cells import LibertyError, Library
from synth.characterise import WARM_UP, Mapped
from synth.kinds import kinds
from synth.mapped import CLOCK_NS, map_and_time, replay
from synth.probe import Recording, record
from synth.report import MODES
from synth.yosys import Recipe

PRODUCTS = 6_000
DEFAULT_KINDS = "bit_pair,int8_dot"

_EDGE = Recipe(full_adders=False, delay_ps=1650)
RECIPES = {
    "pe": Recipe(full_adders=True, delay_ps=1650),
    "weight_edge": _EDGE,
    "act_edge": _EDGE,
    "control": _EDGE,
}
"""Recipe of every module."""


def step_parts(
    mapped: Mapped, config: ArrayConfig, recording: Recording, folder: Path
) -> dict[Part, PartCost]:
    """Parts of a module with the energy of a cycle in which it takes a step.

    Cycles between tiles, in which it waits, count as idle ones, as in the cost tables.

    Raises
    ------
    SimulationError
        If the netlist does not do what its RTL does, or the simulator fails.
    """
    run = replay(
        mapped.netlist,
        mapped.timing,
        recording,
        name=mapped.module,
        input_arrival_ns=mapped.input_arrival_ns,
        period_ns=CLOCK_NS,
        folder=folder,
    )
    busy, idle = (
        by_part(mapped.netlist, config, timing=mapped.timing, activity=activity)
        for activity in (run.busy, run.idle)
    )
    steps = sum(recording.ports["control"]["step"][WARM_UP : recording.busy])
    if not steps:
        raise SimulationError(f"tiles must take longer than {WARM_UP} cycles; raise --products")
    cycles = run.busy.cycles
    none = PartCost(area_um2=0.0, energy_fj=0.0)
    return {
        part: PartCost(
            area_um2=cost.area_um2,
            energy_fj=(cost.energy_fj * cycles - idle.get(part, none).energy_fj * (cycles - steps))
            / steps,
        )
        for part, cost in busy.items()
    }


def break_down(
    config: ArrayConfig,
    library: Library,
    sampled: operands.Operands,
    *,
    folder: Path,
    products: int = PRODUCTS,
) -> dict[str, Any]:
    """Parts of an array: um2, and fJ per multiply-accumulate by weight mode, modules times count.

    Raises
    ------
    YosysError, LibertyError, SimulationError
        If a tool fails, or a netlist does not do what its RTL does.
    """
    modules = map_and_time(config, library, RECIPES)
    counts = {"pe": config.rows * config.cols, "weight_edge": config.cols}
    counts |= {"act_edge": config.rows, "control": 1}
    costs: dict[tuple[str, WeightMode], dict[Part, PartCost]] = {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for mode in MODES:
            tiles = operands.sample_tiles(sampled, mode, config, products=products)
            recording = record(config, tiles, folder=folder / f"rtl-{mode.name}")
            jobs = {
                name: pool.submit(
                    step_parts, mapped, config, recording, folder / f"{name}-{mode.name}"
                )
                for name, mapped in modules.items()
            }
            costs |= {(name, mode): job.result() for name, job in jobs.items()}
    none = PartCost(area_um2=0.0, energy_fj=0.0)
    parts: dict[str, dict[str, Any]] = {}
    for part in Part:
        of_modes = {
            mode: [(costs[name, mode].get(part, none), counts[name]) for name in modules]
            for mode in MODES
        }
        area_um2 = fsum(cost.area_um2 * count for cost, count in of_modes[MODES[0]])
        fj_per_mac = {
            mode.name: fsum(cost.energy_fj * count for cost, count in costs_of_mode)
            / macs_per_step(config, mode)
            for mode, costs_of_mode in of_modes.items()
        }
        if area_um2 or any(fj_per_mac.values()):
            parts[part.value] = {"area_um2": area_um2, "fj_per_mac": fj_per_mac}
    return {
        "array": config.name,
        "macs_per_step": {mode.name: macs_per_step(config, mode) for mode in MODES},
        "area_um2": fsum(m.netlist.area_um2 * counts[name] for name, m in modules.items()),
        "parts": parts,
    }


def macs_per_step(config: ArrayConfig, mode: WeightMode) -> float:
    """Multiply-accumulates of an array in a cycle with a step."""
    return config.rows * config.cols * config.chunk_depth(mode) / config.steps(mode)


def lines(name: str, entry: dict[str, Any]) -> list[str]:
    """Return the breakdown of an array as lines of text."""
    text = [f"{name:26}{'um2':>10}  %  " + "".join(f"{f'fJ/MAC {m.name}':>13}" for m in MODES)]
    for part, cost in entry["parts"].items():
        figures = "".join(f"{cost['fj_per_mac'][mode.name]:13.1f}" for mode in MODES)
        share = 100 * cost["area_um2"] / entry["area_um2"]
        text.append(f"  {part:24}{cost['area_um2']:10.0f} {share:3.0f} {figures}")
    total = "".join(
        f"{fsum(cost['fj_per_mac'][mode.name] for cost in entry['parts'].values()):13.1f}"
        for mode in MODES
    )
    return [*text, f"  {'all':24}{entry['area_um2']:10.0f} 100 {total}"]


def chosen(names: str) -> list[str]:
    """Kinds of a comma-separated list.

    Raises
    ------
    ValueError
        If there is no such kind, or its steps depend on the weights.
    """
    known = [name for name, config in kinds().items() if not config.pe.traits.skips_zeros]
    given = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        raise ValueError(
            f"kinds must be some of {', '.join(known)}, not {', '.join(unknown) or 'none'}"
        )
    return given


def main(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON file to write, and a PNG of the same name."),
    ] = None,
    names: Annotated[
        str, typer.Option("--kinds", help="Kinds of PE, comma-separated.")
    ] = DEFAULT_KINDS,
    operand_file: Annotated[
        Path, typer.Option("--operands", help="Sampled operands of a network.")
    ] = Path(__file__).parent / "operands" / "resnet8.npz",
    products: Annotated[
        int, typer.Option(min=1, help="Products of a PE, by mode, that energy is measured on.")
    ] = PRODUCTS,
) -> None:
    """Break down area and energy of arrays by part: lanes, tree, shifter, registers and so on."""
    try:
        library, sampled = liberty.load(liberty.nangate45()), operands.load(operand_file)
        document: dict[str, Any] = {
            "command": shlex.join(["python", "-m", "synth.parts", *sys.argv[1:]]),
            "tools": tools(),
            "library": {"name": library.name, "sha256": library.sha256},
            "operands": {"name": sampled.name, "sha256": sampled.sha256},
            "recipes": {name: recipe.name for name, recipe in RECIPES.items()},
            "clock_period_ns": CLOCK_NS,
            "kinds": {},
        }
        with tempfile.TemporaryDirectory(prefix="sigmaquant-parts-") as folder:
            for name in chosen(names):
                entry = break_down(
                    kinds()[name], library, sampled, folder=Path(folder) / name, products=products
                )
                document["kinds"][name] = entry
                typer.echo("\n".join(lines(name, entry)))
        if output is not None:
            temporary = output.with_suffix(".tmp")
            temporary.write_text(json.dumps(rounded(document), indent=1) + "\n", encoding="utf-8")
            temporary.replace(output)
            # here, so that a breakdown needs no matplotlib
            from synth.plot import plot_parts

            plot_parts(document["kinds"], output.with_suffix(".png"))
    except (
        ValueError,
        OSError,
        YosysError,
        LibertyError,
        SimulationError,
        operands.OperandError,
    ) as error:
        typer.echo(f"synth.parts: {error}", err=True)
        raise typer.Exit(2) from error


def rounded(value: Any) -> Any:
    """Return a document with all its floats to three decimals."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 3) if isinstance(value, float) else value


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
