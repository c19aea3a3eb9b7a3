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

Where they differ, the whole merges the edges' equal copies of the control, and has constants where
a column's last PE takes results from nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer

from hw.array import MacArray
from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from hw.verilog import to_rtlil
from hw.yosys import YosysError
from synth import activity, liberty, operands, timing
from synth.cache import tools
from synth.cells import LibertyError, Library
from synth.characterise import INPUT_ARRIVAL_NS, timed
from synth.energy import energy
from synth.mapped import CLOCK_NS, STANDARD, map_array, replay
from synth.netlist import Net, Netlist
from synth.probe import Recording, all_watched, record
from synth.timing import INPUT_SLEW_NS, Timing
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
        "int8_dot": replace(small, pe=PEKind.INT8_DOT),
        "int8_mac": replace(
            small, rows=4, cols=4, lanes=1, pe=PEKind.INT8_MAC, double_buffered=False
        ),
    }


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A netlist with its timing, and when its inputs change."""

    netlist: Netlist
    timing: Timing
    input_arrival_ns: float


Port = tuple[str, str]
"""Module and port."""


def sinks(config: ArrayConfig, module: str, port: str) -> list[tuple[Port, int]]:
    """Find what an output of a module drives in an array.

    Parameters
    ----------
    module : str
        A name of `synth.probe.all_watched`.

    Returns
    -------
    list of (Port, int)
        Modules and ports, each with the first of its bits that is driven; empty for what leaves
        the array.
    """
    rows, cols = range(config.rows), range(config.cols)
    kind, *place = module.rsplit("_", {"p": 2, "c": 0}.get(module[0], 1))
    if kind == "pe":
        row, col = map(int, place)
        if row % config.drain_cycles:
            return [((f"pe_{row - 1}_{col}", "chain_in"), 0)]
        return [((f"weight_edge_{col}", "chain"), row // config.drain_cycles * config.acc_bits)]
    if (kind, port) == ("weight_edge", "out"):
        return [((f"pe_{row}_{place[0]}", "weight"), 0) for row in rows]
    if (kind, port) in (("act_edge", "out"), ("act_edge", "control_out")):
        target = "act" if port == "out" else "control"
        return [((f"pe_{place[0]}_{col}", target), 0) for col in cols]
    edges = [f"weight_edge_{col}" for col in cols]
    if kind == "control" and port == "control":
        edges += [f"act_edge_{row}" for row in rows]
    if kind == "control" and port in ("control", "step", "first", "last"):
        found = [((edge, port), 0) for edge in edges]
        if port == "step":
            found += [((f"act_edge_{row}", "load"), 0) for row in rows]
        return found
    return []


def module_names(config: ArrayConfig) -> list[str]:
    """Modules of an array as `synth.probe.all_watched` names them, after what drives them."""
    rows, cols = range(config.rows), range(config.cols)
    names = ["control", *(f"weight_edge_{col}" for col in cols)]
    names += [f"act_edge_{row}" for row in rows]
    return names + [f"pe_{row}_{col}" for row in rows for col in cols]


def kind_of(module: str) -> str:
    """Netlist of a module: ``pe`` of ``pe_0_1``."""
    return module.rstrip("_0123456789")


def _pins(netlist: Netlist, port: str) -> list[tuple[float, int]]:
    """Capacitance of the pins, fF, and their number, of every bit of an input."""
    nets = netlist.inputs.get(port, [])
    load: dict[Net, float] = defaultdict(float)
    count: Counter[Net] = Counter()
    wanted = set(nets)
    for instance in netlist.instances:
        for name, net in instance.nets.items():
            if net in wanted:
                load[net] += instance.cell.pins[name].capacitance_ff
                count[net] += 1
    return [(load[net], count[net]) for net in nets]


def loaded(
    config: ArrayConfig, module: str, netlists: dict[str, Netlist], pins: dict[Port, Any]
) -> Netlist:
    """Netlist of a module, each output bit with the pins and the wire of its net in the array."""
    netlist = netlists[kind_of(module)]
    own = Counter(
        net
        for instance in netlist.instances
        for name, net in instance.nets.items()
        if not instance.cell.pins[name].output
    )
    wire = netlist.library.wire_ff
    loads: dict[str, list[float]] = {}
    for port, bits in netlist.outputs.items():
        driven = sinks(config, module, port)
        if not driven:
            continue
        capacitance, fanout = [0.0] * len(bits), [0] * len(bits)
        for (sink, into), first in driven:
            for index, (load, count) in enumerate(
                pins.get((kind_of(sink), into), [])[first : first + len(bits)]
            ):
                capacitance[index] += load
                fanout[index] += count
        # a netlist counts an output as one pin; the array's net has all of them
        loads[port] = [
            capacitance[i] + wire(own[net] + fanout[i]) - wire(own[net] + 1)
            for i, net in enumerate(bits)
        ]
    return replace(netlist, output_load_ff=loads)


def place(config: ArrayConfig, library: Library) -> dict[str, Placed]:
    """Every module of an array, loaded and timed as it stands in the array.

    Raises
    ------
    YosysError, LibertyError
        If mapping fails.
    """
    netlists = map_array(config, library)
    pins = {
        (kind, port): _pins(netlist, port)
        for kind, netlist in netlists.items()
        for port in netlist.inputs
    }
    placed: dict[str, Placed] = {}
    late, at, slew = 0.0, INPUT_ARRIVAL_NS, INPUT_SLEW_NS
    for name in module_names(config):
        netlist = loaded(config, name, netlists, pins)
        pe = kind_of(name) == "pe"
        result = timing.analyse(
            netlist,
            input_arrival_ns=at if pe else INPUT_ARRIVAL_NS,
            input_slew_ns=slew if pe else INPUT_SLEW_NS,
            late_ns=dict.fromkeys(("step", "first", "last", "load"), late),
        )
        arrival = at if pe else INPUT_ARRIVAL_NS
        placed[name] = Placed(netlist=netlist, timing=result, input_arrival_ns=arrival)
        if name == "control":
            late = result.port_arrival_ns["step"]
        elif not pe:
            at = max(at, result.port_arrival_ns["out"])
            slews = [result.slew_ns[net] for net in netlist.outputs["out"] if isinstance(net, int)]
            slew = max(slew, sum(slews) / len(slews))
    return placed


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
    busy, idle = (energy(placed.netlist, placed.timing, a) for a in (run.busy, run.idle))
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
            recording = record(config, tiles, folder=folder / f"rtl-{mode.name}", watch=all_watched)
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
    keyed = {(n, STANDARD): replace(net, output_load_ff={}) for n, net in netlists.items()}
    driven = {name: m[0].netlist.area_um2 for name, m in timed(config, keyed, library).items()}
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
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write.")
    ] = None,
    names: Annotated[
        str, typer.Option("--arrays", help="Small arrays, comma-separated; all if not given.")
    ] = "",
    operand_file: Annotated[
        Path, typer.Option("--operands", help="Sampled operands of a network.")
    ] = Path(__file__).parent / "operands" / "resnet8.npz",
    products: Annotated[
        int, typer.Option(min=1, help="Products of a PE, by mode, that energy is measured on.")
    ] = PRODUCTS,
) -> None:
    """Compare whole small arrays with the sum of their modules; exit status 1 beyond the limits."""
    try:
        chosen = [name.strip() for name in names.split(",") if name.strip()] or list(arrays())
        unknown = [name for name in chosen if name not in arrays()]
        if unknown:
            known = ", ".join(arrays())
            raise ValueError(f"arrays must be some of {known}, not {', '.join(unknown)}")
        library, sampled = liberty.load(liberty.nangate45()), operands.load(operand_file)
        document: dict[str, Any] = {
            "command": shlex.join(["python", "-m", "synth.compose", *sys.argv[1:]]),
            "tools": tools(),
            "library": {"name": library.name, "sha256": library.sha256},
            "operands": {"name": sampled.name, "sha256": sampled.sha256},
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
            temporary = output.with_suffix(".tmp")
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            temporary.replace(output)
    except (
        ValueError,
        OSError,
        YosysError,
        LibertyError,
        activity.SimulationError,
        operands.OperandError,
    ) as error:
        typer.echo(f"synth.compose: {error}", err=True)
        raise typer.Exit(2) from error
    lines = beyond(document)
    for line in lines:
        typer.echo(f"synth.compose: {line}", err=True)
    if lines:
        raise typer.Exit(1)


def _show(name: str, entry: dict[str, Any]) -> None:
    figures = {"area": entry["area_um2"]} | entry["energy_fj"]
    for what, pair in figures.items():
        unit = "um2" if what == "area" else "fJ"
        typer.echo(
            f"{name:9} {what:5} whole {pair['whole']:>9.1f} {unit}, "
            f"sum {pair['sum']:>9.1f} {unit}, ratio {pair['ratio']:.3f}"
        )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app()
