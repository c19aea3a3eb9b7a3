"""One search, from the loaded network to the files: hardware, method, baselines, test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from rich.console import Console

from hw.precision import WeightMode
from quant.allocation import ACT_BITS
from quant.cost import Prices
from quant.data import Data
from quant.evaluate import accuracy
from quant.hardware import Candidate, area_limit_um2, pick
from quant.jobs import InProcess, Jobs, jobs_of
from quant.journal import Entry, Journal
from quant.map_file import check_acts, check_map, check_names
from quant.menu import menu_of, most_act_bits
from quant.methods import choose, leanest
from quant.outcome import Outcome, Trained
from quant.progress import SearchProgress
from quant.qat import QatSettings
from quant.quant_network import Snapshot, uniform_bits
from quant.request import Plan, Request
from quant.resources import Resource
from quant.session import Session
from quant.team import Team
from quant.threads import one_thread
from quant.visits import Visit
from quant.workbench import Source, Workbench, calibrate_uniform, measure, train_uniform

UNIFORM = (WeightMode.W2, WeightMode.W4, WeightMode.W8)
"""Shown beside the result, as far as the hardware has them."""
NOTES_SHOWN = 12
Uniforms = Mapping[WeightMode, Future[tuple[Snapshot, float]]]


def run(request: Request, images: Data, begin: Callable[[], None] = lambda: None) -> bool:
    """Search, write the results, print them; returns whether all targets are met.

    Parameters
    ----------
    request : Request
    images : Data
        Those that it names.
    begin : callable
        Called once network, images and map are known to be right, before anything is written.

    Raises
    ------
    LostProcessError
        If another process of a team that trains has ended.
    """
    with Team.of_environment() as team:
        met = _run(request, images, team, begin)
        team.tell(None)
    return met


def _run(request: Request, images: Data, team: Team, begin: Callable[[], None]) -> bool:
    from quant.console import print_report
    from quant.pareto import walk
    from quant.result import write_results

    one_thread()
    began = time.perf_counter()
    source = Source(
        model=request.model,
        weights=request.weights,
        data=request.data,
        device=request.device,
        rounding=request.rounding,
    )
    if request.cluster:
        source = source.anywhere()
    console = Console(stderr=True)
    team.tell(source)
    bench, journal = Workbench(source, team=team, images=images), Journal(request.state)
    _check_map(request, bench)
    chosen = jobs_of(request.workers, request.cluster)
    begin()
    _print_notes(bench, console)
    with chosen as jobs, SearchProgress(console, request) as progress:
        shared = jobs if request.cluster else None  # here, threads share the layers' runs
        session = open_session(request, bench, journal, progress, shared)
        if request.pareto is not None:
            met = walk(session, jobs, Console())
        else:
            outcome = _searched(session, jobs, console, began)
    if request.pareto is None:
        met = write_results(session.request, bench, outcome)
        print_report(session.request, bench, outcome, met)
    session.best.delete()
    shutil.rmtree(request.state, ignore_errors=True)
    console.print(f"done after {time.perf_counter() - began:.1f} s")
    return met


def _check_map(request: Request, bench: Workbench) -> None:
    """Check what is known of a map before the hardware is picked."""
    if request.bits is None:
        return
    layers = bench.network.layers
    check_names(request.bits, tuple(layer.name for layer in layers))
    if len(request.tables) == 1:
        ((_, table),) = request.tables
        check_map(request.bits, table)
        check_acts(request.acts, {n.source for n in layers} - bench.network.images, table)


def open_session(
    request: Request,
    bench: Workbench,
    journal: Journal,
    progress: SearchProgress,
    jobs: Jobs | None = None,
) -> Session:
    """Measure the float network, price it on every table, and pick the hardware.

    Sensitivities are measured by `jobs`, if given.
    """
    validation = journal.step(
        "float",
        {},
        lambda: Entry(values={"validation": accuracy(bench.teacher, bench.images.validation)}),
    ).values["validation"]
    layers = bench.network.layers
    most = max((table.modes[-1] for _, table in request.tables), key=lambda mode: mode.bits)
    calibrated = bench.rounded(uniform_bits(bench.network, most), seed=request.seed)
    samples = bench.operands(calibrated, seed=request.seed, act_bits=_fewer_act_bits(request))
    tensors, images = bench.network.tensors, bench.network.images
    candidates = []
    for path, table in request.tables:
        prices = Prices(table=table, layers=layers, samples=samples)
        menu = menu_of(layers, prices, request.policy.on(table), tensors=tensors, images=images)
        candidates.append(Candidate(path=path, table=table, prices=prices, menu=menu))
    chosen = pick(candidates, request.wishes)
    if request.bits is not None:
        check_map(request.bits, chosen.table)
        check_acts(request.acts, {layer.source for layer in layers} - images, chosen.table)
        request = replace(request, bits={name: request.bits[name] for name in chosen.menu.names})
    if chosen.unreachable(request.wishes) and request.bits is None:
        request = replace(request, plan=Plan.untrained())
    return Session(
        request,
        bench,
        chosen,
        float_validation=validation,
        journal=journal,
        progress=progress,
        jobs=jobs,
    )


def _print_notes(bench: Workbench, console: Console) -> None:
    """Say what of the network has no integer form."""
    notes = bench.network.notes
    for note in notes[:NOTES_SHOWN]:
        console.print(f"{note.gap.value}: {note}", markup=False, soft_wrap=True)
    if len(notes) > NOTES_SHOWN:
        console.print(f"and {len(notes) - NOTES_SHOWN} more of the kind: gaps in result.json")


def _fewer_act_bits(request: Request) -> list[int]:
    """Bits below 8 that activations may have on any of the tables."""
    tables = [table for _, table in request.tables]
    bits = {most_act_bits(table) for table in tables}
    bits |= {b for table in tables for b in request.policy.on(table).act_bits}
    return sorted(bits - {ACT_BITS})


def max_area_um2(request: Request) -> float | None:
    """Limit of the array's area, if there is one."""
    limit = request.wishes.limits.get(Resource.AREA)
    return None if limit is None else area_limit_um2(limit, request.tables[0][1])


def _searched(session: Session, jobs: Jobs, console: Console, began: float) -> Outcome:
    before = time.perf_counter()
    uniform = _start_uniform(session, jobs)
    began += time.perf_counter() - before  # where there are no workers, they have run by now
    unreachable = session.hardware.unreachable(session.request.wishes)
    nearest = unreachable and session.request.bits is None
    chosen = leanest(session) if nearest else choose(session)
    console.print(
        f"search took {time.perf_counter() - began:.1f} s, baselines and test images not counted"
    )
    return _tested(session, chosen, uniform, jobs)


def _start_uniform(session: Session, jobs: Jobs) -> Uniforms:
    """Start the jobs of the uniform allocations that are not yet done; each is written at once."""
    request, source, journal = session.request, session.bench.source, session.journal
    plan, acts = request.plan, session.menu.most_acts
    futures: dict[WeightMode, Future[tuple[Snapshot, float]]] = {}
    for mode in UNIFORM:
        if not request.uniform or mode not in session.hardware.table.modes:
            continue
        name = f"uniform-{mode.bits}"
        asked = {"steps": plan.total_steps, "seed": request.seed, "activations": acts}
        known = journal.read(name, asked)
        if known is not None and known.snapshot is not None:
            futures[mode] = Future()
            futures[mode].set_result((known.snapshot, float(known.values["validation"])))
            continue
        if plan.trains:
            settings = QatSettings(
                steps=plan.total_steps, batch=plan.batch, seed=request.seed, scales=plan.scales
            )
            futures[mode] = jobs.submit(train_uniform, source, mode, settings, acts)
        else:
            futures[mode] = jobs.submit(calibrate_uniform, source, mode, request.seed, acts)

        def record(
            done: Future[tuple[Snapshot, float]], name: str = name, asked: Any = asked
        ) -> None:
            if done.cancelled() or done.exception() is not None:
                return
            snapshot, validation = done.result()
            journal.write(name, asked, Entry(values={"validation": validation}, snapshot=snapshot))

        futures[mode].add_done_callback(record)
    for mode, future in futures.items():
        session.progress.watch(f"uniform {mode.bits} bit", future)
    return futures


def _tested(session: Session, chosen: Visit, uniform: Uniforms, jobs: Jobs) -> Outcome:
    """Wait for the uniform allocations, then read the test images, once, and measure on them."""
    session.progress.stage("waiting for the uniform allocations")
    trained = {mode: future.result() for mode, future in uniform.items()}
    session.progress.stage("test images")
    if not trained and not session.request.cluster:
        jobs = InProcess()  # two measurements are done before workers have started
    source, images = session.bench.source, session.bench.images.test
    example = session.bench.example
    float_test = jobs.submit(measure, source, example, None, images)
    searched_test = jobs.submit(measure, source, example, chosen.state, images)
    tests = {
        mode: jobs.submit(measure, source, example, state, images)
        for mode, (state, _) in trained.items()
    }
    return Outcome(
        visits=[*session.visits, *session.final_visits],
        chosen=chosen,
        float_validation=session.float_validation,
        float_test=float_test.result(),
        searched=Trained(
            snapshot=chosen.state,
            validation=session.float_validation - chosen.drop,
            test=searched_test.result(),
        ),
        uniform={
            mode: Trained(snapshot=state, validation=top_1, test=tests[mode].result())
            for mode, (state, top_1) in trained.items()
        },
        sigma=session.sigma,
        scores=session.scores,
        hardware=session.hardware,
        budget=session.budget,
        unreachable=session.hardware.unreachable(session.request.wishes),
        max_area_um2=max_area_um2(session.request),
        smallest_area_um2=min((t.array.area_um2 or 0.0 for _, t in session.request.tables)),
        sensitivity=session.measured,
    )
