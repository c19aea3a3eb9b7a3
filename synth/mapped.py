"""All modules of an array mapped by one recipe, timed and replayed: for checks and breakdowns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hw.config import ArrayConfig
from synth import activity
from synth.cells import Library
from synth.designs import designs
from synth.drive import with_drivers
from synth.mapping import WARM_UP
from synth.netlist import Netlist
from synth.probe import Recording
from synth.surroundings import Arrivals, Surroundings, place
from synth.timing import Timing, analyse
from synth.yosys import Adders, Recipe, map_to_cells

CLOCK_NS = 1.65
"""Clock of the committed table, to which the recipes belong."""

STANDARD = Recipe(adders=Adders.CELLS, delay_ps=1650)
"""Compressor trees of full-adder cells, a loose delay target: that of the tables' PEs."""


def map_array(config: ArrayConfig, library: Library) -> dict[str, Netlist]:
    """One of each module as Yosys made it, by `STANDARD`.

    Raises
    ------
    YosysError, LibertyError
        If Yosys fails or the library lacks a cell.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {
            name: pool.submit(
                map_to_cells,
                rtlil,
                top=name,
                library=library,
                recipe=STANDARD,
            )
            for name, rtlil in designs(config).items()
        }
        return {name: job.result() for name, job in jobs.items()}


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A module in its surroundings, loaded, driven and timed."""

    module: str
    netlist: Netlist
    timing: Timing
    input_arrival_ns: float


def map_and_time(config: ArrayConfig, library: Library) -> dict[str, Mapped]:
    """One of each module by `STANDARD`, loaded and timed as in the cost tables.

    Raises
    ------
    YosysError, LibertyError
        If Yosys fails or the library lacks a cell.
    """
    return timed(config, map_array(config, library), library)


def timed(
    config: ArrayConfig, netlists: Mapping[str, Netlist], library: Library
) -> dict[str, Mapped]:
    """Load one of each module with what it drives, and time it with what drives it."""
    found: dict[str, Mapped] = {}

    def time(surroundings: dict[str, Surroundings]) -> Arrivals:
        for module, around in surroundings.items():
            loaded = with_drivers(netlists[module], around.loads_ff)
            result = analyse(
                loaded,
                input_arrival_ns=around.input_arrival_ns,
                input_slew_ns=around.input_slew_ns,
                late_ns=around.late_ns,
            )
            found[module] = Mapped(
                module=module,
                netlist=loaded,
                timing=result,
                input_arrival_ns=around.input_arrival_ns,
            )
        return {module: [found[module].timing.port_arrival_ns] for module in surroundings}

    place(config, netlists, library, time)
    return found


def replay(
    netlist: Netlist,
    timing: Timing,
    recording: Recording,
    *,
    name: str,
    input_arrival_ns: float,
    period_ns: float,
    folder: Path,
) -> activity.Run:
    """Simulate a netlist on what a module of the array saw; its outputs must be the RTL's.

    Parameters
    ----------
    netlist, timing : Netlist, Timing
        Of the module.
    recording : Recording
        Of the array.
    name : str
        Module, as it is called in the recording.
    input_arrival_ns, period_ns : float
        When inputs change, and the clock.
    folder : Path
        Where the simulator's files go.

    Raises
    ------
    SimulationError
        If an output differs, or the simulator fails.
    """
    ports = recording.ports[name]
    stimuli = {port: ports[port] for port in netlist.inputs if port in ports}
    cycles = len(recording.ports["control"]["step"])
    run = activity.simulate(
        netlist,
        timing,
        stimuli | {"rst": [0] * cycles},
        period_ns=period_ns,
        input_arrival_ns=input_arrival_ns,
        bounds=(WARM_UP, recording.busy),
        folder=folder,
    )
    for port, values in run.outputs.items():
        if values[WARM_UP:] != ports[port][WARM_UP:]:
            raise activity.SimulationError(
                f"the netlist of {name} must equal its RTL, but {port} differs"
            )
    return run
