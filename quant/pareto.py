"""The front of accuracy against one resource, walked in one run: `--pareto energy`.

Sensitivities (logit divergence) are measured once; for each of some uses of the resource, from the
least that any allocation takes to that of the least sensitive one, in equal ratios, the exact
program gives the least sensitive allocation within it and the other limits. Each is calibrated,
and trained with the full number of steps unless nothing is. `front.csv` has a line for each,
`front.json` the same with the bits, `front.png` the picture. Ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from quant.allocation import Allocation, act_bits_of
from quant.files import write_bytes, write_json
from quant.jobs import Jobs
from quant.journal import Entry
from quant.milp import ActSensitivity, Sensitivity, exact
from quant.plot import plot_front
from quant.quant_network import Snapshot
from quant.report.results import VERSION
from quant.resources import Resource, shown
from quant.result import provenance
from quant.sensitivity import Measure
from quant.session import Session
from quant.visits import Visit
from quant.workbench import measure, train_bits

NOISE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """An allocation of the front.

    Parameters
    ----------
    visit : Visit
        With its validation accuracy.
    test : float
        Top-1 accuracy on the test images.
    """

    visit: Visit
    test: float


def candidates(
    session: Session, loss: Sensitivity, acts: ActSensitivity, resource: Resource, points: int
) -> list[Allocation]:
    """Return different allocations along the front, the least use first."""
    menu, budget = session.menu, session.budget
    safest = exact(menu, budget, loss, acts=acts)
    if safest is None:
        return []
    low, high = menu.smallest(resource), menu.total(safest.bits, safest.acts)[resource]
    found: list[Allocation] = []
    for limit in np.geomspace(low, max(low, high), points):
        tight = replace(budget, limits={**budget.limits, resource: float(limit)})
        best = exact(menu, tight, loss, acts=acts)
        if best is not None and best not in found:
            found.append(best)
    return found


def walk(session: Session, jobs: Jobs, console: Console) -> bool:
    """Walk the front and write its files; returns whether a point meets all targets on the test."""
    request = session.request
    assert request.pareto is not None
    loss = session.sensitivity(Measure.LOGIT_KL)
    acts = session.act_sensitivity()
    chosen = candidates(session, loss, acts, request.pareto, request.points)
    visits = _measured(session, jobs, chosen)
    bench = session.bench
    images, source, example = bench.images.test, bench.source, bench.example
    session.progress.stage("test images")
    float_test = jobs.submit(measure, source, example, None, images)
    tests = [jobs.submit(measure, source, example, visit.state, images) for visit in visits]
    points = [Point(visit=v, test=t.result()) for v, t in zip(visits, tests, strict=True)]
    rows = [_row(session, point, points, request.pareto) for point in points]
    _write(session, rows, points, float_test.result())
    for resource, least in session.hardware.unreachable(request.wishes).items():
        console.print(f"{resource.option} missed; smallest reachable: {shown(least, resource)}")
    console.print(f"front of {len(points)} allocations -> {request.out}", markup=False)
    return any(
        session.budget.met(drop=float_test.result() - p.test, use=p.visit.use) for p in points
    )


def _measured(session: Session, jobs: Jobs, chosen: Sequence[Allocation]) -> list[Visit]:
    """Calibrate, and train as jobs, all allocations."""
    if not session.request.plan.trains:
        return [
            session.calibrated(found.bits, f"front {i + 1}", found.acts)
            for i, found in enumerate(chosen)
        ]
    steps = session.request.plan.total_steps
    settings = session.settings(steps)
    started: list[tuple[str, dict[str, Any], Any]] = []
    source = session.bench.source
    for found in chosen:
        name = "front-" + session.digits(found.bits, found.acts)
        asked = {"steps": steps, "seed": settings.seed}
        known = session.journal.read(name, asked)
        done = known or jobs.submit(train_bits, source, found.bits, settings, found.acts)
        started.append((name, asked, done))
    visits = []
    for found, (name, asked, done) in zip(chosen, started, strict=True):
        session.progress.stage(name)
        if isinstance(done, Entry):
            entry = done
        else:
            result: tuple[Snapshot, float] = done.result()
            entry = Entry(values={"validation": result[1]}, snapshot=result[0])
            session.journal.write(name, asked, entry)
        visits.append(session.visit_of(found.bits, found.acts, "front", entry))
    return visits


def _row(
    session: Session, point: Point, points: Sequence[Point], resource: Resource
) -> dict[str, Any]:
    visit = point.visit
    acts = act_bits_of(session.bench.network.layers, visit.acts)
    better = [
        other
        for other in points
        if other.visit.use[resource] <= visit.use[resource] + NOISE
        and other.visit.drop < visit.drop - NOISE
    ]
    return {
        **{f"{r.value}_{r.unit}": value for r, value in visit.use.items()},
        "validation_accuracy": session.float_validation - visit.drop,
        "test_accuracy": point.test,
        "on_front": not better,
        "bits": " ".join(str(mode.bits) for mode in visit.bits.values()),
        "act_bits": " ".join(str(bits) for bits in acts.values()),
    }


def _write(
    session: Session, rows: list[dict[str, Any]], points: Sequence[Point], float_test: float
) -> None:
    out: Path = session.request.out
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_bytes(out / "front.csv", text.getvalue().encode())
    resource = session.request.pareto
    assert resource is not None
    document = {
        "version": VERSION,
        "model": session.request.model,
        "seed": session.request.seed,
        "resource": resource.value,
        "table": session.hardware.table.name,
        "qat_steps": session.request.plan.total_steps,
        "float": {"validation_accuracy": session.float_validation, "test_accuracy": float_test},
        "layers": list(session.menu.names),
        "activations": list(act_bits_of(session.bench.network.layers, {})),
        "points": rows,
        "command": session.request.command,
        "provenance": provenance(session.request, session.bench, session.hardware),
    }
    write_json(out / "front.json", document)
    places = [(p.visit.use[resource], session.float_validation - p.visit.drop) for p in points]
    title = f"{session.request.model}, seed {session.request.seed}, {session.hardware.table.name}"
    plot_front(places, resource, title, session.float_validation, out / "front.png")
