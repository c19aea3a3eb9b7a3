"""All modules of an array mapped by one recipe, timed and replayed: for checks and breakdowns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hw.config import ArrayConfig
from synth import activity
from synth.cells import Library
from synth.characterise import WARM_UP, Mapped, designs, timed
from synth.netlist import Netlist
from synth.probe import Recording
from synth.timing import Timing
from synth.yosys import Recipe, map_to_cells

CLOCK_NS = 1.65
"""Clock of the committed table, to which the recipes belong."""

STANDARD = Recipe(full_adders=True, delay_ps=990)
"""Compressor trees of full-adder cells, a tight delay target."""


def map_array(
    config: ArrayConfig, library: Library, recipes: Mapping[str, Recipe] | None = None
) -> dict[str, Netlist]:
    """One of each module as Yosys made it, by `STANDARD` or the recipes of modules that are given.

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
                recipe=(recipes or {}).get(name, STANDARD),
            )
            for name, rtlil in designs(config).items()
        }
        return {name: job.result() for name, job in jobs.items()}


def map_and_time(
    config: ArrayConfig, library: Library, recipes: Mapping[str, Recipe] | None = None
) -> dict[str, Mapped]:
    """One of each module by the recipes of `map_array`, loaded and timed as in the cost tables.

    Raises
    ------
    YosysError, LibertyError
        If Yosys fails or the library lacks a cell.
    """
    netlists = {
        (name, (recipes or {}).get(name, STANDARD)): netlist
        for name, netlist in map_array(config, library, recipes).items()
    }
    return {name: mapped[0] for name, mapped in timed(config, netlists, library).items()}


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
        warm_up=WARM_UP,
        split=recording.busy,
        folder=folder,
    )
    for port, values in run.outputs.items():
        if values[WARM_UP:] != ports[port][WARM_UP:]:
            raise activity.SimulationError(
                f"the netlist of {name} must equal its RTL, but {port} differs"
            )
    return run
