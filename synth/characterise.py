"""From a configuration to the costs of its modules: map, time, simulate, count.

Every module is mapped by many recipes. Those that meet the clock and are not beaten in area and
period by another are measured at 8-bit weights; the one of least energy x area is kept, for the
array and for its baselines alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from hw.config import ArrayConfig, Multiplier
from hw.control import Control
from hw.edge import ActEdge, WeightEdge
from hw.pe import make_pe
from hw.precision import WeightMode
from hw.schedule import steps_of_weights
from hw.verilog import to_rtlil
from sim.bench.tiles import Tile
from synth.cells import Library
from synth.drive import SLEW_NS
from synth.jobs import Job, Runner
from synth.mapping import (
    Measured,
    Summary,
    map_job,
    measure_job,
    measured,
    summary,
    time_job,
)
from synth.model import fit, run_features
from synth.netlist import read
from synth.operands import Operands, sample_tiles
from synth.recording import record_job
from synth.surroundings import ORDER, Arrivals, Surroundings, place
from synth.table import ArrayCost, ArrayParameters, ModuleCost, PartFigures
from synth.yosys import AbcScript, Adders, Engine, Recipe

PRODUCTS = 12_000
"""Products per mode on which commands measure energy if not told otherwise."""

PE_ARRIVAL_NS = 0.3
"""About when an edge gives a PE its operands."""

MODULES = tuple(module for modules in ORDER for module in modules)
"""Modules of an array, each after those that drive it."""


class ClockError(Exception):
    """A module does not meet the clock by any recipe."""


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
    runner : Runner
        Of the jobs.
    products : int
        Multiply-accumulates of a PE on which energy is measured, per mode.
    thorough : bool
        Whether all recipes are tried on PEs, or four only.
    engine : Engine
        Which build of Yosys maps.
    """

    library: Library
    operands: Operands
    period_ns: float
    runner: Runner
    products: int = PRODUCTS
    thorough: bool = False
    engine: Engine = Engine.YOWASP


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A module mapped by one recipe, in its surroundings; energy if it was worth measuring."""

    recipe: Recipe
    netlist: Job
    surroundings: Surroundings
    summary: Summary
    energy: Measured | None = None


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
    recordings : dict of WeightMode to Job
        What the modules' ports saw.
    """

    cost: ArrayCost
    chosen: dict[str, Candidate]
    tried: dict[str, list[Candidate]]
    recordings: dict[WeightMode, Job]

    @property
    def recipes(self) -> dict[str, str]:
        """Name of the recipe of each module."""
        return {name: candidate.recipe.name for name, candidate in self.chosen.items()}


def recipes(period_ns: float, *, thorough: bool, has_product: bool) -> list[Recipe]:
    """Return the recipes that a module is tried with; Booth's only if it `has_product` in it."""
    shares = (0.4, 0.6, 1.0) if thorough else (0.6, 1.0)
    targets = [round(1000 * period_ns * share) for share in shares]
    adders = tuple(Adders) if thorough else (Adders.CELLS, Adders.TREES)
    ways = [(way, AbcScript.DEFAULT, target) for way, target in product(adders, targets)]
    if thorough:
        ways += [(way, AbcScript.AREA, targets[-1]) for way in adders]
    return [
        Recipe(adders=way, script=script, delay_ps=target, booth=booth)
        for booth in ((False, True) if has_product else (False,))
        for way, script, target in ways
    ]


def characterise(config: ArrayConfig, bench: Bench) -> Characterised:
    """Cost of an array.

    Raises
    ------
    ClockError
        If a module does not meet the clock.
    YosysError, LibertyError, SimulationError
        If a tool fails, or a netlist does not do what its RTL does.
    """
    rtlil = designs(config)
    runner, name = bench.runner, config.name
    has_product = config.multiplier is Multiplier.OPERATOR
    mapping = {
        (module, recipe): map_job(
            text, top=module, library=bench.library, recipe=recipe, engine=bench.engine
        )
        for module, text in rtlil.items()
        for recipe in recipes(
            bench.period_ns,
            thorough=bench.thorough and module == "pe",
            has_product=has_product and module == "pe",
        )
    }
    recordings = {
        mode: record_job(config, mode, bench.operands, products=bench.products)
        for mode in WeightMode
    }
    runner.run([*mapping.values(), *recordings.values()], label=f"{name}: map and simulate")
    candidates = _timed(config, mapping, bench)
    eight = recordings[WeightMode.W8]
    tried = {
        module: _front_measured(c, module, eight, config, bench) for module, c in candidates.items()
    }
    chosen = {module: _best(module, c, config, bench) for module, c in tried.items()}
    jobs = {
        (module, mode): _measure_job(chosen[module], module, recordings[mode], config, bench)
        for module in MODULES
        for mode in WeightMode
    }
    results = runner.run(list(jobs.values()), label=f"{name}: energy")
    energies = {key: measured(result) for key, result in zip(jobs, results, strict=True)}
    counts = {
        "pe": config.rows * config.cols,
        "weight_edge": config.cols,
        "act_edge": config.rows,
        "control": 1,
    }
    seen = {
        mode: run_features(bench.operands, mode, config, products=bench.products)
        for mode in WeightMode
    }
    modules = {
        module: ModuleCost(
            count=counts[module],
            area_um2=chosen[module].summary.area_um2,
            sequential_area_um2=chosen[module].summary.sequential_area_um2,
            min_period_ns=chosen[module].summary.min_period_ns,
            leakage_nw=chosen[module].summary.leakage_nw,
            energy_pj={
                mode.name: step_fj(energies[module, mode], mode, config, bench) / 1000
                for mode in WeightMode
            },
            idle_energy_pj=energies[module, WeightMode.W8].idle_fj / 1000,
            parts=_parts([energies[module, mode] for mode in WeightMode], config, bench),
            model=fit(
                [found for mode in WeightMode for found in seen[mode].values()],
                [run.step_fj / 1000 for mode in WeightMode for run in energies[module, mode].runs],
            ),
        )
        for module in MODULES
    }
    return Characterised(
        cost=ArrayCost(
            parameters=ArrayParameters.of(config),
            sampled_utilisation={
                mode.name: utilisation(mode, config, bench) for mode in WeightMode
            },
            modules=modules,
        ),
        chosen=chosen,
        tried=tried,
        recordings=recordings,
    )


def step_fj(energy: Measured, mode: WeightMode, config: ArrayConfig, bench: Bench) -> float:
    """Energy of a step, mean over the network: each layer by the steps that its work takes."""
    shares = _shares(mode, config, bench)
    return sum(share * run.step_fj for share, run in zip(shares, energy.runs, strict=True))


def _shares(mode: WeightMode, config: ArrayConfig, bench: Bench) -> list[float]:
    """Share of each run in the steps that the network's work takes."""
    tiles = sample_tiles(bench.operands, mode, config, products=bench.products)
    steps = [
        bench.operands.layers[name].share * _steps(run, config) / _products(run)
        for name, run in tiles.items()
    ]
    return [step / sum(steps) for step in steps]


def utilisation(mode: WeightMode, config: ArrayConfig, bench: Bench) -> float:
    """Share of a PE's lanes with work in the steps of `step_fj`; 1 where steps are not fixed."""
    if config.pe.traits.skips_zeros:
        return 1.0
    tiles = sample_tiles(bench.operands, mode, config, products=bench.products)
    layers = bench.operands.layers
    steps = sum(layers[name].share * _steps(r, config) / _products(r) for name, r in tiles.items())
    shares = sum(layer.share for layer in layers.values())
    return shares / steps * config.steps(mode) / config.chunk_depth(mode)


def _steps(run: Sequence[Tile], config: ArrayConfig) -> int:
    return sum(steps_of_weights(tile.weight.tolist(), tile.mode, config) for tile in run)


def _products(run: Sequence[Tile]) -> int:
    return sum(tile.act.shape[1] for tile in run)


def _parts(energies: list[Measured], config: ArrayConfig, bench: Bench) -> dict[str, PartFigures]:
    """Parts of a module: area, and energy of a step by mode, as `step_fj` weighs it."""
    by_mode: dict[str, dict[str, float]] = {}
    for mode, energy in zip(WeightMode, energies, strict=True):
        for share, run in zip(_shares(mode, config, bench), energy.runs, strict=True):
            for part, spent in run.parts_fj.items():
                known = by_mode.setdefault(part, {})
                known[mode.name] = known.get(mode.name, 0.0) + share * spent / 1000
    return {
        part: PartFigures(
            area_um2=energies[0].parts_um2.get(part, 0.0),
            energy_pj={name: max(0.0, spent) for name, spent in by_mode.get(part, {}).items()},
        )
        for part in dict.fromkeys([*energies[0].parts_um2, *by_mode])
    }


def design_sha256(config: ArrayConfig) -> str:
    """Hash of the RTL of all modules, of the array and of its baselines."""
    return designs_sha256([config, *baselines(config).values()])


def pe_front(config: ArrayConfig, bench: Bench) -> list[Candidate]:
    """Map the PE of an array; measure what meets the clock and is not beaten in area and period.

    It is timed with plain surroundings, as if the array's edges gave its inputs at once: for the
    choice among variants of a kind, not for a cost table.
    """
    has_product = config.multiplier is Multiplier.OPERATOR
    ways = recipes(bench.period_ns, thorough=False, has_product=has_product)
    text = designs(config)["pe"]
    netlists = [
        map_job(text, top="pe", library=bench.library, recipe=way, engine=bench.engine)
        for way in ways
    ]
    surroundings = Surroundings(input_arrival_ns=PE_ARRIVAL_NS, input_slew_ns=SLEW_NS)
    bench.runner.run(netlists, label=f"{config.name}: map")
    jobs = [time_job(netlist, surroundings) for netlist in netlists]
    results = bench.runner.run(jobs, label=f"{config.name}: timing")
    candidates = [
        Candidate(recipe=way, netlist=netlist, surroundings=surroundings, summary=summary(result))
        for way, netlist, result in zip(ways, netlists, results, strict=True)
    ]
    if min(c.summary.min_period_ns for c in candidates) > bench.period_ns:
        return candidates
    eight = record_job(config, WeightMode.W8, bench.operands, products=bench.products)
    bench.runner.run([eight], label=f"{config.name}: simulate")
    return _front_measured(candidates, "pe", eight, config, bench)


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


def _timed(
    config: ArrayConfig, mapping: dict[tuple[str, Recipe], Job], bench: Bench
) -> dict[str, list[Candidate]]:
    """Time every netlist in its surroundings; loads are those of each module's first recipe."""
    first = {
        module: read(bench.runner.store.get(job.key), library=bench.library)
        for (module, _), job in reversed(mapping.items())
    }
    found: dict[str, list[Candidate]] = {}

    def timed(surroundings: dict[str, Surroundings]) -> Arrivals:
        keys = [key for key in mapping if key[0] in surroundings]
        jobs = [time_job(mapping[key], surroundings[key[0]]) for key in keys]
        results = bench.runner.run(
            jobs, label=f"{config.name}: timing of {', '.join(surroundings)}"
        )
        for (module, recipe), result in zip(keys, results, strict=True):
            found.setdefault(module, []).append(
                Candidate(
                    recipe=recipe,
                    netlist=mapping[module, recipe],
                    surroundings=surroundings[module],
                    summary=summary(result),
                )
            )
        return {m: [c.summary.port_arrival_ns for c in found[m]] for m in surroundings}

    place(config, first, bench.library, timed)
    return found


def _front_measured(
    candidates: list[Candidate], module: str, recording: Job, config: ArrayConfig, bench: Bench
) -> list[Candidate]:
    """Measure what meets the clock and is not beaten in both area and period."""
    fast = {
        (c.summary.area_um2, c.summary.min_period_ns): c
        for c in reversed(candidates)
        if c.summary.min_period_ns <= bench.period_ns
    }
    front = [
        c
        for (area, period), c in fast.items()
        if not any(a <= area and p <= period and (a, p) != (area, period) for a, p in fast)
    ]
    jobs = [_measure_job(c, module, recording, config, bench) for c in front]
    results = bench.runner.run(jobs, label=f"{module}: energy of {len(front)} netlists")
    energies = {c.recipe: measured(r) for c, r in zip(front, results, strict=True)}
    return [replace(c, energy=energies.get(c.recipe)) for c in candidates]


def _best(module: str, candidates: list[Candidate], config: ArrayConfig, bench: Bench) -> Candidate:
    """Least energy x area at 8-bit weights among the netlists that were measured."""
    found = [
        (step_fj(c.energy, WeightMode.W8, config, bench) * c.summary.area_um2, i)
        for i, c in enumerate(candidates)
        if c.energy is not None
    ]
    if not found:
        shortest = min(c.summary.min_period_ns for c in candidates)
        raise ClockError(
            f"clock must be at least {shortest:.3f} ns for {module}, not {bench.period_ns} ns; "
            "raise --clock-ns"
        )
    return candidates[min(found)[1]]


def _measure_job(
    candidate: Candidate, module: str, recording: Job, config: ArrayConfig, bench: Bench
) -> Job:
    return measure_job(
        candidate.netlist,
        candidate.surroundings,
        recording=recording,
        config=config,
        module=module,
        period_ns=bench.period_ns,
    )
