"""All modules of an array mapped by one recipe and timed: what the checks of the flow work on."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from hw.config import ArrayConfig
from synth.cells import Library
from synth.characterise import Mapped, designs, recipes, timed
from synth.netlist import Netlist
from synth.yosys import Recipe, map_to_cells

CLOCK_NS = 1.65
"""Clock of the committed table, to which the recipes belong."""


def standard_recipe() -> Recipe:
    """Compressor trees of full-adder cells, a tight delay target."""
    return recipes(CLOCK_NS)[0]


def map_array(config: ArrayConfig, library: Library) -> dict[str, Netlist]:
    """One of each module by `standard_recipe`, as Yosys made it.

    Raises
    ------
    YosysError, LibertyError
        If Yosys fails or the library lacks a cell.
    """
    recipe = standard_recipe()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {
            name: pool.submit(map_to_cells, rtlil, top=name, library=library, recipe=recipe)
            for name, rtlil in designs(config).items()
        }
        return {name: job.result() for name, job in jobs.items()}


def map_and_time(config: ArrayConfig, library: Library) -> dict[str, Mapped]:
    """One of each module by `standard_recipe`, loaded and timed as in the cost tables.

    Raises
    ------
    YosysError, LibertyError
        If Yosys fails or the library lacks a cell.
    """
    recipe = standard_recipe()
    netlists = {(name, recipe): n for name, n in map_array(config, library).items()}
    return {name: mapped[0] for name, mapped in timed(config, netlists, library).items()}
