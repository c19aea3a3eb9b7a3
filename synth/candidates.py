"""Which netlist of a module: mapped by many recipes, timed, the good ones measured, one chosen.

Those that meet the clock and are not beaten in area and period by another are measured at 8-bit
weights; the one of least energy x area is the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from hw.config import ArrayConfig, Multiplier
from hw.precision import WeightMode
from synth.bench import Bench
from synth.designs import designs
from synth.drive import SLEW_NS
from synth.jobs import Job
from synth.mapping import Measured, Summary, map_job, measure_job, measured, summary, time_job
from synth.netlist import read
from synth.recording import record_job
from synth.surroundings import Arrivals, Surroundings, place
from synth.work import layer_shares, step_fj
from synth.yosys import AbcScript, Adders, Recipe

PE_ARRIVAL_NS = 0.3
"""About when an edge gives a PE its operands."""


class ClockError(Exception):
    """A module does not meet the clock by any recipe."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A module mapped by one recipe, in its surroundings; energy if it was worth measuring."""

    recipe: Recipe
    netlist: Job
    surroundings: Surroundings
    summary: Summary
    energy: Measured | None = None


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


def map_jobs(config: ArrayConfig, bench: Bench) -> dict[tuple[str, Recipe], Job]:
    """Jobs that map every module of an array by all its recipes."""
    has_product = config.multiplier is Multiplier.OPERATOR
    return {
        (module, recipe): map_job(
            text, top=module, library=bench.library, recipe=recipe, engine=bench.engine
        )
        for module, text in designs(config).items()
        for recipe in recipes(
            bench.period_ns,
            thorough=bench.thorough and module == "pe",
            has_product=has_product and module == "pe",
        )
    }


def timed(
    config: ArrayConfig, mapping: dict[tuple[str, Recipe], Job], bench: Bench
) -> dict[str, list[Candidate]]:
    """Time every netlist in its surroundings; loads are those of each module's first recipe.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    mapping : dict of (str, Recipe) to Job
        Those of `map_jobs`; they have run.
    bench : Bench
        With the runner.
    """
    first = {
        module: read(bench.runner.store.get(job.key), library=bench.library)
        for (module, _), job in reversed(mapping.items())
    }
    found: dict[str, list[Candidate]] = {}

    def time(surroundings: dict[str, Surroundings]) -> Arrivals:
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

    place(config, first, bench.library, time)
    return found


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
    return front_measured(candidates, "pe", eight, config, bench)


def front_measured(
    candidates: list[Candidate], module: str, recording: Job, config: ArrayConfig, bench: Bench
) -> list[Candidate]:
    """Measure what meets the clock and is not beaten in both area and period.

    Parameters
    ----------
    candidates : list of Candidate
        All netlists of the module.
    module : str
        Its name.
    recording : Job
        Operands to measure it on; it has run.
    config : ArrayConfig
        The array.
    bench : Bench
        With the clock and the runner.

    Returns
    -------
    list of Candidate
        The same netlists, those of the front with their energy.
    """
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
    jobs = [energy_job(c, module, recording, config, bench) for c in front]
    results = bench.runner.run(jobs, label=f"{module}: energy of {len(front)} netlists")
    energies = {c.recipe: measured(r) for c, r in zip(front, results, strict=True)}
    return [replace(c, energy=energies.get(c.recipe)) for c in candidates]


def best(module: str, candidates: list[Candidate], config: ArrayConfig, bench: Bench) -> Candidate:
    """Return the netlist of least energy x area at 8-bit weights among those measured.

    Raises
    ------
    ClockError
        If none was measured, since none meets the clock.
    """
    shares = layer_shares(bench.operands, WeightMode.W8, config, products=bench.products)
    found = [
        (step_fj(c.energy, shares) * c.summary.area_um2, i)
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


def energies(
    chosen: Mapping[str, Candidate],
    recordings: Mapping[WeightMode, Job],
    config: ArrayConfig,
    bench: Bench,
    *,
    label: str,
) -> dict[tuple[str, WeightMode], Measured]:
    """Measure one netlist of each module on every recording; these have run."""
    jobs = {
        (module, mode): energy_job(candidate, module, recording, config, bench)
        for module, candidate in chosen.items()
        for mode, recording in recordings.items()
    }
    results = bench.runner.run(list(jobs.values()), label=label)
    return {key: measured(result) for key, result in zip(jobs, results, strict=True)}


def energy_job(
    candidate: Candidate, module: str, recording: Job, config: ArrayConfig, bench: Bench
) -> Job:
    """Job that measures a netlist on a recording."""
    return measure_job(
        candidate.netlist,
        candidate.surroundings,
        recording=recording,
        config=config,
        module=module,
        period_ns=bench.period_ns,
    )
