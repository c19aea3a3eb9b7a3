"""From a configuration to the costs of its modules: map, time, simulate, count.

Every module is mapped by a few recipes; the one of least energy x area (8-bit weights) that meets
the clock is kept, for the array and for its baselines alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hw.config import ArrayConfig
from hw.control import Control
from hw.edge import ActEdge, WeightEdge
from hw.pe import make_pe
from hw.pe.signature import control_layout
from hw.precision import WeightMode
from hw.verilog import to_rtlil
from synth import activity, timing
from synth.cells import Library
from synth.drive import SLEW_NS, wire_past_pes_ff, with_drivers
from synth.energy import energy
from synth.netlist import DEFAULT_LOAD_FF, Netlist
from synth.operands import Operands, sample_tiles
from synth.probe import Recording, record
from synth.table import ArrayCost, ArrayParameters, ModuleCost
from synth.yosys import Recipe, map_to_cells

INPUT_ARRIVAL_NS = 0.2
"""When inputs from outside the array change after the clock edge: a register and a short wire."""

PRODUCTS = 16_000
"""Products per mode on which commands measure energy if not told otherwise."""

WARM_UP = 24


class ClockError(Exception):
    """A module does not meet the clock by any recipe."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A module mapped by one recipe, with its timing."""

    module: str
    recipe: Recipe
    netlist: Netlist
    timing: timing.Timing
    input_arrival_ns: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What characterisation needs besides the configuration.

    Parameters
    ----------
    library : Library
        Standard cells.
    operands : Operands
        Real operands for the energy.
    period_ns : float
        Clock.
    folder : Path
        For the simulators' files.
    workers : int
        Threads; each mostly waits for a simulator or for Yosys.
    report : callable
        Told about every finished step.
    products : int
        Multiply-accumulates of a PE on which energy is measured, per mode.
    """

    library: Library
    operands: Operands
    period_ns: float
    folder: Path
    workers: int
    report: Callable[[str], None]
    products: int = PRODUCTS


def recipes(period_ns: float) -> list[Recipe]:
    """Return the recipes that every module is tried with."""
    tight, loose = round(1000 * period_ns * 0.6), round(1000 * period_ns)
    return [
        Recipe(full_adders=adders, delay_ps=delay)
        for adders in (True, False)
        for delay in (tight, loose)
    ]


def characterise(config: ArrayConfig, bench: Bench) -> tuple[ArrayCost, dict[str, str]]:
    """Cost of an array, and the recipe that each module was mapped by.

    Raises
    ------
    ClockError
        If a module does not meet the clock.
    YosysError, LibertyError, SimulationError
        If a tool fails, or a netlist does not do what its RTL does.
    """
    modules_rtlil = designs(config)
    with ThreadPoolExecutor(bench.workers) as pool:
        recordings = {mode: pool.submit(_record, config, mode, bench) for mode in WeightMode}
        mapping = {
            (name, recipe): pool.submit(
                map_to_cells, rtlil, top=name, library=bench.library, recipe=recipe
            )
            for name, rtlil in modules_rtlil.items()
            for recipe in recipes(bench.period_ns)
        }
        netlists = {key: future.result() for key, future in mapping.items()}
        bench.report(f"{config.name}: mapped {len(netlists)} netlists")
        recorded = {mode: future.result() for mode, future in recordings.items()}
        bench.report(f"{config.name}: RTL equals the golden model on the sampled tiles")
        candidates = timed(config, netlists, bench.library)
        best = {
            name: _best(name, candidates[name], recorded[WeightMode.W8], bench, pool)
            for name in modules_rtlil
        }
        jobs = {
            (name, mode): pool.submit(_measure, best[name], recorded[mode], mode.name, bench)
            for name in modules_rtlil
            for mode in WeightMode
        }
        measured = {key: job.result() for key, job in jobs.items()}
    counts = {
        "pe": config.rows * config.cols,
        "weight_edge": config.cols,
        "act_edge": config.rows,
        "control": 1,
    }
    modules = {}
    for name, mapped in best.items():
        idle = measured[name, WeightMode.W8][1]
        modules[name] = ModuleCost(
            count=counts[name],
            area_um2=mapped.netlist.area_um2,
            sequential_area_um2=mapped.netlist.sequential_area_um2,
            min_period_ns=mapped.timing.min_period_ns,
            leakage_nw=mapped.netlist.leakage_nw,
            energy_pj={mode.name: measured[name, mode][0] / 1000 for mode in WeightMode},
            idle_energy_pj=idle / 1000,
        )
        bench.report(f"{config.name}: {name} by {mapped.recipe.name}")
    cost = ArrayCost(parameters=ArrayParameters.of(config), modules=modules)
    return cost, {name: mapped.recipe.name for name, mapped in best.items()}


def design_sha256(config: ArrayConfig) -> str:
    """Hash of the RTL of all modules, of the array and of its baselines."""
    return designs_sha256([config, *baselines(config).values()])


def designs_sha256(arrays: Sequence[ArrayConfig]) -> str:
    """Hash of the RTL of all modules of some arrays."""
    texts = [text for array in arrays for text in designs(array).values()]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def baselines(config: ArrayConfig) -> dict[str, ArrayConfig]:
    """INT8 arrays of the same throughput at 8-bit weights, by their names in a cost table."""
    return {"int8_mac": config.int8_equivalent(), "int8_dot": config.int8_dot_equivalent()}


def designs(config: ArrayConfig) -> dict[str, str]:
    """RTLIL of one of each module that `synth.probe.watched` records."""
    components = {
        "pe": make_pe(config),
        "weight_edge": WeightEdge(config),
        "act_edge": ActEdge(config),
        "control": Control(config),
    }
    return {name: to_rtlil(component, name=name) for name, component in components.items()}


def _record(config: ArrayConfig, mode: WeightMode, bench: Bench) -> Recording:
    tiles = sample_tiles(bench.operands, mode, config, products=bench.products)
    return record(config, tiles, folder=bench.folder / config.name / f"rtl-{mode.name}")


def timed(
    config: ArrayConfig, netlists: dict[tuple[str, Recipe], Netlist], library: Library
) -> dict[str, list[Mapped]]:
    """Load every module with what it drives, then time it with what drives it.

    Loads are taken from the first recipe of each module. The edges' `step`, `first`, `last` and
    `load` come as late as the slowest control, the PEs' inputs as late as the slowest edge.
    """
    first = {name: netlist for (name, _), netlist in reversed(netlists.items())}
    pe, weight_edge, act_edge = first["pe"], first["weight_edge"], first["act_edge"]

    def past(pes: int) -> float:
        return wire_past_pes_ff(library, pes=pes, pe_area_um2=pe.area_um2)

    def shared(port: str, pes: int) -> list[float]:
        return [pes * load + past(pes) for load in pe.input_ff(port)]

    edges = config.rows + config.cols
    step = config.cols * sum(weight_edge.input_ff("step")) + past(edges)
    step += config.rows * sum(act_edge.input_ff("load"))
    loads: dict[str, dict[str, list[float]]] = {
        "pe": {"chain_out": [DEFAULT_LOAD_FF + past(1)] * config.acc_bits},
        "weight_edge": {"out": shared("weight", config.rows)},
        "act_edge": {
            "out": shared("act", config.cols),
            "control_out": shared("control", config.cols),
        },
        "control": {
            "control": [edges * DEFAULT_LOAD_FF + past(edges)] * control_layout(config).size,
            "step": [step],
            "first": [config.cols * sum(weight_edge.input_ff("first")) + past(edges)],
            "last": [config.cols * sum(weight_edge.input_ff("last")) + past(edges)],
        },
    }
    timed: dict[str, list[Mapped]] = {}
    at, late = INPUT_ARRIVAL_NS, 0.0
    for name in ("control", "weight_edge", "act_edge", "pe"):
        timed[name] = []
        arrival, slew = (at, SLEW_NS) if name == "pe" else (INPUT_ARRIVAL_NS, timing.INPUT_SLEW_NS)
        for (module, recipe), netlist in netlists.items():
            if module == name:
                loaded = with_drivers(netlist, loads[name])
                result = timing.analyse(
                    loaded,
                    input_arrival_ns=arrival,
                    input_slew_ns=slew,
                    late_ns=dict.fromkeys(("step", "first", "last", "load"), late),
                )
                timed[name].append(
                    Mapped(
                        module=name,
                        recipe=recipe,
                        netlist=loaded,
                        timing=result,
                        input_arrival_ns=arrival,
                    )
                )
        arrivals = [m.timing.port_arrival_ns for m in timed[name]]
        if name == "control":
            late = max(a["step"] for a in arrivals)
        elif name in ("weight_edge", "act_edge"):
            at = max(at, *(a["out"] for a in arrivals))
    return timed


def _best(
    name: str,
    candidates: list[Mapped],
    recording: Recording,
    bench: Bench,
    pool: ThreadPoolExecutor,
) -> Mapped:
    """Least energy x area at 8-bit weights among the netlists that meet the clock."""
    fast = [c for c in candidates if c.timing.min_period_ns <= bench.period_ns]
    if not fast:
        shortest = min(c.timing.min_period_ns for c in candidates)
        raise ClockError(
            f"clock must be at least {shortest:.3f} ns for {name}, not {bench.period_ns} ns; "
            "raise --clock-ns"
        )
    distinct = {(c.netlist.area_um2, c.timing.min_period_ns): c for c in fast}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    tried = {
        key: pool.submit(_measure, c, recording, f"try-{index}", bench)
        for index, (key, c) in enumerate(distinct.items())
    }
    products = {key: job.result()[0] * key[0] for key, job in tried.items()}
    return distinct[min(products, key=lambda key: products[key])]


def _measure(mapped: Mapped, recording: Recording, label: str, bench: Bench) -> tuple[float, float]:
    """Energy of a cycle with a step and of an idle cycle, fJ; checks the netlist's outputs."""
    ports = recording.ports[mapped.module]
    inputs = {port: ports[port] for port in mapped.netlist.inputs if port in ports}
    inputs["rst"] = [0] * len(recording.ports["control"]["step"])
    folder = bench.folder / f"{mapped.module}-{label}-{id(mapped)}"
    run = activity.simulate(
        mapped.netlist,
        mapped.timing,
        inputs,
        period_ns=bench.period_ns,
        input_arrival_ns=mapped.input_arrival_ns,
        warm_up=WARM_UP,
        split=recording.busy,
        folder=folder,
    )
    for port, values in run.outputs.items():
        if values[WARM_UP:] != ports[port][WARM_UP:]:
            raise activity.SimulationError(
                f"the netlist of {mapped.module} must equal its RTL, but {port} differs"
            )
    busy = energy(mapped.netlist, mapped.timing, run.busy).total_fj
    idle = energy(mapped.netlist, mapped.timing, run.idle).total_fj
    steps = sum(recording.ports["control"]["step"][WARM_UP : recording.busy])
    waiting = run.busy.cycles - steps
    return (busy * run.busy.cycles - idle * waiting) / steps, idle
