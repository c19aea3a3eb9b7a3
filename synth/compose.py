"""The sum of the modules against the whole: ``python -m synth.compose -o docs/composition.json``.

Cost tables count an array as so many modules, each mapped and simulated alone. Here a small array
is mapped flat, as one netlist, and runs the same tiles as all its modules, instance by instance.
Areas must agree within `AREA_LIMIT`, energies within `ENERGY_LIMIT`.

How both are made comparable: the modules get no line drivers, since the whole has none but the
buffers that abc puts into nets of many pins; every module's output has the pins and the wire, by
the wire-load model, that its net has in the array; its inputs change when the slowest module that
drives them gives them, with the mean slew there. Both run at a clock that the whole meets. Nets of
the array's own inputs are paid for by neither. What the table adds, line drivers for wires past
PEs, is named beside it (`line_drivers_um2`).

Where they differ: the whole merges the edges' equal copies of the control, and has constants where
a column's last PE takes results from nothing. With INT8 dot products it is larger than the sum, by
490 of abc's buffers on the operands' lines and by 64 full adders (one a multiplier) that became
gates, since Yosys orders a compressor tree's terms otherwise there.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.array import MacArray
from hw.cli.command import beside, command_app
from hw.config import ArrayConfig, PEKind
from hw.files import write_json
from hw.precision import WeightMode
from hw.verilog import to_rtlil
from synth import liberty, operands, timing
from synth.cells import Library
from synth.command import (
    OPERANDS,
    OperandFile,
    OutputFile,
    document_header,
    listed,
    one_line,
    refuse,
)
from synth.energy import energy
from synth.mapped import CLOCK_NS, STANDARD, replay, timed
from synth.placed import Placed, kind_of, place
from synth.probe import Recording, all_watched, record
from synth.surroundings import INPUT_ARRIVAL_NS
from synth.yosys import map_to_cells

AREA_LIMIT, ENERGY_LIMIT = 0.03, 0.10
"""Largest differences between sum and whole, as shares of the whole."""

MODES = (WeightMode.W8, WeightMode.W4, WeightMode.W2)
PRODUCTS = 3_000
CLOCK_STEP_NS = 0.05


def arrays() -> dict[str, ArrayConfig]:
    """Return the small arrays that are checked, by name."""
    small = ArrayConfig(rows=2, cols=2, lanes=16, drain_rows=1)
    return {
        "bit_pair": small,
        "int8_dot": replace(small, pe=PEKind.INT8_DOT, group=2),
        "int8_mac": replace(
            small, rows=4, cols=4, lanes=1, pe=PEKind.INT8_MAC, double_buffered=False
        ),
    }


def measured(
    name: str, placed: Placed, recording: Recording, folder: Path, period_ns: float
) -> tuple[float, float]:
    """Energy of a mean cycle with tiles, and of one without, fJ; the outputs must be the RTL's.

    Raises
    ------
    SimulationError
        If they are not, or the simulator fails.
    """
    run = replay(
        placed.netlist,
        placed.timing,
        recording,
        name=name,
        input_arrival_ns=placed.input_arrival_ns,
        period_ns=period_ns,
        folder=folder,
    )
    busy, idle = (energy(placed.netlist, placed.timing, a) for a in run.windows)
    return busy.total_fj, idle.total_fj


def compose(
    config: ArrayConfig, library: Library, sampled: operands.Operands, folder: Path, products: int
) -> dict[str, Any]:
    """Area, um2, and energy of a cycle, fJ, of an array as one netlist and as the sum of modules.

    Raises
    ------
    YosysError, LibertyError, SimulationError
        If a tool fails, or a netlist does not do what its RTL does.
    """
    parts = place(config, library)
    whole = map_to_cells(
        to_rtlil(MacArray(config), name="array"),
        top="array",
        library=library,
        recipe=STANDARD,
    )
    result = timing.analyse(whole, input_arrival_ns=INPUT_ARRIVAL_NS)
    flat = Placed(netlist=whole, timing=result, input_arrival_ns=INPUT_ARRIVAL_NS)
    # lines without drivers may be slow, so both sides run at a clock that the whole meets
    period_ns = max(CLOCK_NS, CLOCK_STEP_NS * ceil(result.min_period_ns / CLOCK_STEP_NS))
    entry: dict[str, Any] = {
        "array": config.name,
        "drain_rows": config.drain_rows,
        "clock_period_ns": round(period_ns, 3),
        "min_period_ns": {
            "whole": round(result.min_period_ns, 3),
            "slowest_part": round(max(p.timing.min_period_ns for p in parts.values()), 3),
        },
        "area_um2": _pair(whole.area_um2, sum(p.netlist.area_um2 for p in parts.values())),
        "line_drivers_um2": round(_drivers_um2(config, library, parts), 1),
        "energy_fj": {},
    }
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for mode in MODES:
            tiles = operands.sample_tiles(
                sampled, mode, config, products=products, cols=config.cols
            )
            recording = record(
                config, list(tiles.values()), folder=folder / f"rtl-{mode.name}", watch=all_watched
            )
            jobs = {
                name: pool.submit(
                    measured, name, placed, recording, folder / f"{name}-{mode.name}", period_ns
                )
                for name, placed in ({"array": flat} | parts).items()
            }
            spent = {name: job.result() for name, job in jobs.items()}
            busy, idle = spent.pop("array")
            entry["energy_fj"][mode.name] = _pair(busy, sum(b for b, _ in spent.values())) | {
                "parts": _by_kind({name: b for name, (b, _) in spent.items()})
            }
            if mode is MODES[0]:
                entry["energy_fj"]["idle"] = _pair(idle, sum(i for _, i in spent.values()))
    return entry


def _pair(whole: float, total: float) -> dict[str, Any]:
    return {
        "whole": round(whole, 1),
        "sum": round(total, 1),
        "ratio": round(total / whole, 4),
    }


def _by_kind(values: dict[str, float]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for name, value in values.items():
        totals[kind_of(name)] += value
    return {kind: round(total, 1) for kind, total in totals.items()}


def _drivers_um2(config: ArrayConfig, library: Library, parts: dict[str, Placed]) -> float:
    """Area of the line drivers that a cost table adds to an array of this size."""
    netlists = {kind_of(name): part.netlist for name, part in parts.items()}
    bare = {name: replace(netlist, output_load_ff={}) for name, netlist in netlists.items()}
    driven = {name: m.netlist.area_um2 for name, m in timed(config, bare, library).items()}
    count = Counter(kind_of(name) for name in parts)
    return sum(n * (driven[kind] - netlists[kind].area_um2) for kind, n in count.items())


def beyond(document: dict[str, Any]) -> list[str]:
    """Figures of which sum and whole differ by more than the limits, a line each."""
    lines = []
    for name, entry in document["arrays"].items():
        pairs = {"area_um2": (entry["area_um2"], AREA_LIMIT)}
        pairs |= {f"energy_fj {k}": (v, ENERGY_LIMIT) for k, v in entry["energy_fj"].items()}
        lines += [
            f"{name} {what}: the sum {pair['sum']} must be within {limit:.0%} of the whole "
            f"{pair['whole']}"
            for what, (pair, limit) in pairs.items()
            if abs(pair["ratio"] - 1) > limit
        ]
    return lines


def main(
    output: OutputFile = None,
    names: Annotated[
        str, typer.Option("--arrays", help="Small arrays, comma-separated; all if not given.")
    ] = "",
    operand_file: OperandFile = OPERANDS,
    products: Annotated[
        int, typer.Option(min=1, help="Products of a PE, by mode, that energy is measured on.")
    ] = PRODUCTS,
) -> None:
    """Compare whole small arrays with the sum of their modules; exit status 1 beyond the limits."""
    with one_line("synth.compose", stopped="stopped"):
        chosen = listed(names, arrays(), what="arrays", default=arrays())
        library, sampled = liberty.load(liberty.nangate45()), operands.load(operand_file)
        document = document_header("synth.compose", library, sampled) | {
            "recipe": STANDARD.name,
            "limits": {"area": AREA_LIMIT, "energy": ENERGY_LIMIT},
            "arrays": {},
        }
        with tempfile.TemporaryDirectory(prefix="sigmaquant-compose-") as folder:
            for name in chosen:
                entry = compose(arrays()[name], library, sampled, Path(folder) / name, products)
                document["arrays"][name] = entry
                _show(name, entry)
        if output is not None:
            write_json(output, document, indent=1)
    refuse("synth.compose", beyond(document))


def _show(name: str, entry: dict[str, Any]) -> None:
    figures = {"area": entry["area_um2"]} | entry["energy_fj"]
    for what, pair in figures.items():
        unit = "um2" if what == "area" else "fJ"
        typer.echo(
            f"{name:9} {what:5} whole {pair['whole']:>9.1f} {unit}, "
            f"sum {pair['sum']:>9.1f} {unit}, ratio {pair['ratio']:.3f}"
        )


app = command_app(main, name="synth.compose", place=beside("output"))

if __name__ == "__main__":
    app()
