"""From a configuration to the costs of its modules: map, time, simulate, count.

The netlist of every module is chosen as `synth.candidates` says, for the array and for its
baselines alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hw.config import ArrayConfig
from hw.precision import WeightMode
from synth.bench import Bench
from synth.candidates import Candidate, best, energies, front_measured, map_jobs, timed
from synth.designs import counts
from synth.features import Features
from synth.mapping import Measured
from synth.model import fit, run_features
from synth.recording import record_job
from synth.surroundings import ORDER
from synth.table import ArrayCost, ArrayParameters, ModuleCost, PartFigures
from synth.work import layer_shares, step_fj, utilisation

MODULES = tuple(module for modules in ORDER for module in modules)
"""Modules of an array, each after those that drive it."""


@dataclass(frozen=True, kw_only=True)
class Characterised:
    """An array's costs and what they were chosen from.

    Parameters
    ----------
    cost : ArrayCost
        Module by module.
    chosen : dict of str to Candidate
        By module.
    tried : dict of str to list of Candidate
        All netlists of a module, measured or not, in the order of their recipes.
    """

    cost: ArrayCost
    chosen: dict[str, Candidate]
    tried: dict[str, list[Candidate]]

    @property
    def recipes(self) -> dict[str, str]:
        """Name of the recipe of each module."""
        return {name: candidate.recipe.name for name, candidate in self.chosen.items()}


def characterise(config: ArrayConfig, bench: Bench) -> Characterised:
    """Cost of an array.

    Raises
    ------
    ClockError
        If a module does not meet the clock.
    YosysError, LibertyError, SimulationError
        If a tool fails, or a netlist does not do what its RTL does.
    """
    operands, products = bench.operands, bench.products
    mapping = map_jobs(config, bench)
    recordings = {
        mode: record_job(config, mode, operands, products=products) for mode in WeightMode
    }
    bench.runner.run(
        [*mapping.values(), *recordings.values()], label=f"{config.name}: map and simulate"
    )
    eight = recordings[WeightMode.W8]
    tried = {
        module: front_measured(found, module, eight, config, bench)
        for module, found in timed(config, mapping, bench).items()
    }
    chosen = {module: best(module, found, config, bench) for module, found in tried.items()}
    spent = energies(chosen, recordings, config, bench, label=f"{config.name}: energy")
    seen = {mode: run_features(operands, mode, config, products=products) for mode in WeightMode}
    shares = {mode: layer_shares(operands, mode, config, products=products) for mode in WeightMode}
    modules = {
        module: module_cost(
            chosen[module],
            {mode: spent[module, mode] for mode in WeightMode},
            count=counts(config)[module],
            shares=shares,
            seen=[found for mode in WeightMode for found in seen[mode].values()],
        )
        for module in MODULES
    }
    return Characterised(
        cost=ArrayCost(
            parameters=ArrayParameters.of(config),
            sampled_utilisation={
                mode.name: utilisation(operands, mode, config, products=products)
                for mode in WeightMode
            },
            modules=modules,
        ),
        chosen=chosen,
        tried=tried,
    )


def module_cost(
    chosen: Candidate,
    energy: Mapping[WeightMode, Measured],
    *,
    count: int,
    shares: Mapping[WeightMode, list[float]],
    seen: list[Features],
) -> ModuleCost:
    """Entry of a cost table.

    Parameters
    ----------
    chosen : Candidate
        The module's netlist.
    energy : mapping of WeightMode to Measured
        What it spends.
    count : int
        How many of it the array has.
    shares : mapping of WeightMode to list of float
        By mode, each run's share of the network's steps.
    seen : list of Features
        What the operands of each run do, mode by mode.
    """
    summary = chosen.summary
    return ModuleCost(
        count=count,
        area_um2=summary.area_um2,
        sequential_area_um2=summary.sequential_area_um2,
        min_period_ns=summary.min_period_ns,
        leakage_nw=summary.leakage_nw,
        energy_pj={mode.name: step_fj(e, shares[mode]) / 1000 for mode, e in energy.items()},
        idle_energy_pj=energy[WeightMode.W8].idle_fj / 1000,
        parts=_parts(energy, shares),
        model=fit(seen, [run.step_fj / 1000 for e in energy.values() for run in e.runs]),
    )


def _parts(
    energy: Mapping[WeightMode, Measured], shares: Mapping[WeightMode, list[float]]
) -> dict[str, PartFigures]:
    """Parts of a module: area, and energy of a step by mode, as `step_fj` weighs it."""
    by_mode: dict[str, dict[str, float]] = {}
    for mode, measured in energy.items():
        for share, run in zip(shares[mode], measured.runs, strict=True):
            for part, spent in run.parts_fj.items():
                known = by_mode.setdefault(part, {})
                known[mode.name] = known.get(mode.name, 0.0) + share * spent / 1000
    areas = energy[WeightMode.W8].parts_um2  # of the netlist, so the same at every precision
    return {
        part: PartFigures(
            area_um2=areas.get(part, 0.0),
            energy_pj={name: max(0.0, spent) for name, spent in by_mode.get(part, {}).items()},
        )
        for part in dict.fromkeys([*areas, *by_mode])
    }
