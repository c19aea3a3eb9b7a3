"""Jobs of a module's netlist: map it, time it, measure its energy; results as JSON."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from math import fsum
from pathlib import Path
from typing import Any

from hw.config import ArrayConfig
from synth import activity, liberty, timing
from synth.breakdown import by_part
from synth.cells import Library
from synth.drive import with_drivers
from synth.jobs import Job, Store
from synth.netlist import Document, Netlist, read
from synth.probe import Recording
from synth.surroundings import Surroundings
from synth.yosys import Engine, Recipe, mapped

WARM_UP = 24
"""Cycles before the first that counts."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A netlist with its surroundings, loaded, driven and timed."""

    netlist: Netlist
    timing: timing.Timing


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the choice among netlists needs; areas with line drivers."""

    area_um2: float
    sequential_area_um2: float
    leakage_nw: float
    min_period_ns: float
    port_arrival_ns: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class RunEnergy:
    """Energy of a module over a run of tiles.

    Parameters
    ----------
    step_fj : float
        Of a cycle with a step, mean.
    steps : int
        Of the run.
    parts_fj : dict of str to float
        `step_fj` by `synth.breakdown.Part`.
    """

    step_fj: float
    steps: int
    parts_fj: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Energy of a module by run, and of an idle cycle; its area by part."""

    runs: list[RunEnergy]
    idle_fj: float
    parts_um2: dict[str, float]


def map_job(rtlil: str, *, top: str, library: Library, recipe: Recipe, engine: Engine) -> Job:
    """Map a module; gives a `synth.netlist.Document`."""
    return Job(
        function=_map,
        arguments={
            "rtlil": rtlil,
            "top": top,
            "recipe": recipe,
            "engine": engine,
            "version": engine.version,
            "library_sha256": library.sha256,
        },
        where={"library": str(library.path.resolve())},
    )


def time_job(netlist: Job, surroundings: Surroundings) -> Job:
    """Time a mapped module; gives the fields of a `Summary`."""
    return _of_netlist(_time, netlist, {"surroundings": surroundings})


def measure_job(
    netlist: Job,
    surroundings: Surroundings,
    *,
    recording: Job,
    config: ArrayConfig,
    module: str,
    period_ns: float,
) -> Job:
    """Replay a recording on a mapped module; gives the fields of a `Measured`."""
    return _of_netlist(
        _measure,
        netlist,
        {
            "surroundings": surroundings,
            "recording": recording.key,
            "config": config,
            "module": module,
            "period_ns": period_ns,
        },
    )


def summary(result: dict[str, Any]) -> Summary:
    """Read the result of a `time_job`."""
    return Summary(**result)


def measured(result: dict[str, Any]) -> Measured:
    """Read the result of a `measure_job`."""
    return Measured(
        runs=[RunEnergy(**run) for run in result["runs"]],
        idle_fj=result["idle_fj"],
        parts_um2=result["parts_um2"],
    )


def _of_netlist(function: Any, netlist: Job, arguments: dict[str, Any]) -> Job:
    return Job(
        function=function, arguments={"netlist": netlist.key, **arguments}, where=netlist.where
    )


@cache
def _library(path: str) -> Library:
    return liberty.load(Path(path))


def _map(
    *,
    store: Store,
    rtlil: str,
    top: str,
    recipe: Recipe,
    engine: Engine,
    version: str,
    library_sha256: str,
    library: str,
) -> Document:
    cells = _library(library)
    if cells.sha256 != library_sha256:
        raise activity.SimulationError(f"{library} must not change while it is in use")
    document = mapped(rtlil, top=top, library=cells, recipe=recipe, engine=engine)
    read(document, library=cells)  # refuses cells that the library lacks
    return document


def _timed(store: Store, netlist: str, surroundings: Surroundings, library: str) -> Timed:
    loaded = with_drivers(
        read(store.get(netlist), library=_library(library)), surroundings.loads_ff
    )
    result = timing.analyse(
        loaded,
        input_arrival_ns=surroundings.input_arrival_ns,
        input_slew_ns=surroundings.input_slew_ns,
        late_ns=surroundings.late_ns,
    )
    return Timed(netlist=loaded, timing=result)


def _time(
    *, store: Store, netlist: str, surroundings: Surroundings, library: str
) -> dict[str, Any]:
    found = _timed(store, netlist, surroundings, library)
    return asdict(
        Summary(
            area_um2=found.netlist.area_um2,
            sequential_area_um2=found.netlist.sequential_area_um2,
            leakage_nw=found.netlist.leakage_nw,
            min_period_ns=found.timing.min_period_ns,
            port_arrival_ns=found.timing.port_arrival_ns,
        )
    )


def _measure(
    *,
    store: Store,
    netlist: str,
    surroundings: Surroundings,
    recording: str,
    config: ArrayConfig,
    module: str,
    period_ns: float,
    library: str,
) -> dict[str, Any]:
    found = _timed(store, netlist, surroundings, library)
    record = Recording(**store.get(recording))
    ports, steps = record.ports[module], record.ports["control"]["step"]
    inputs = {port: ports[port] for port in found.netlist.inputs if port in ports}
    inputs["rst"] = [0] * len(steps)
    bounds = [max(WARM_UP, record.starts[0]), *record.starts[1:], record.busy]
    with tempfile.TemporaryDirectory(prefix="sigmaquant-") as folder:
        run = activity.simulate(
            found.netlist,
            found.timing,
            inputs,
            period_ns=period_ns,
            input_arrival_ns=surroundings.input_arrival_ns,
            bounds=bounds,
            folder=Path(folder),
        )
    for port, values in run.outputs.items():
        if values[WARM_UP:] != ports[port][WARM_UP:]:
            raise activity.SimulationError(
                f"the netlist of {module} must equal its RTL, but {port} differs"
            )
    # the parts of a module sum up to it
    *busy, idle = (
        by_part(found.netlist, config, timing=found.timing, activity=window)
        for window in run.windows
    )
    waits = {part: cost.energy_fj for part, cost in idle.items()}
    runs = []
    for spent, window, first, last in zip(busy, run.windows, bounds, bounds[1:], strict=False):
        taken = sum(steps[first:last])
        if not taken:
            raise activity.SimulationError(
                f"a layer's tiles must take longer than {WARM_UP} cycles; raise --products"
            )
        waiting = window.cycles - taken
        parts_fj = {
            part.value: (cost.energy_fj * window.cycles - waits.get(part, 0.0) * waiting) / taken
            for part, cost in spent.items()
        }
        runs.append(RunEnergy(step_fj=fsum(parts_fj.values()), steps=taken, parts_fj=parts_fj))
    return asdict(
        Measured(
            runs=runs,
            idle_fj=fsum(waits.values()),
            parts_um2={part.value: cost.area_um2 for part, cost in busy[0].items()},
        )
    )
