"""A walked front: accuracy against one resource, and the allocations behind it."""

from __future__ import annotations

from quant.report.quantities import SCALES, Unit, percent, unit_for
from quant.report.results import Front, Point
from quant.report.scatter import Dot, Line, ScatterChart, Series, scatter_chart
from quant.report.table import Table, figure, heading, share, words
from quant.resources import ADDITIVE, Resource

NAMES = {
    Resource.SIZE: "weights",
    Resource.ENERGY: "energy of the array",
    Resource.LATENCY: "latency",
    Resource.BOPS: "BOPs",
}


def front_chart(front: Front) -> ScatterChart | None:
    """Draw a front; nothing if it has no points that can be placed."""
    resource = front.resource
    unit = _unit(front, resource)
    placed = [(p, use) for p in front.points if (use := p.use(resource)) is not None]
    if not placed:
        return None
    kinds = [
        Series(
            name=name,
            number=number,
            dots=[
                Dot(x=use / unit.size, y=100 * p.validation_accuracy, tip=_tip(front, p))
                for p, use in placed
                if p.on_front is on
            ],
            joined=on,
        )
        for name, number, on in (("on the front", 1, True), ("not on the front", 2, False))
    ]
    steps = front.qat_steps
    trained = f"each trained for {steps} steps" if steps else "calibrated, not trained"
    return scatter_chart(
        [kind for kind in kinds if kind.dots],
        title=f"Pareto front: accuracy against {NAMES[resource]}",
        note=f"{len(front.points)} allocations, {trained}, least sensitive within each use.",
        x_name=heading(f"{NAMES[resource]}, an inference", unit),
        y_name="top-1, validation images, %",
        lines=[Line(at=100 * front.floating.validation_accuracy, name="float")],
    )


def _tip(front: Front, point: Point) -> str:
    uses = [_unit(front, r).shown(point.use(r)) for r in (Resource.ENERGY, Resource.LATENCY)]
    return (
        f"top-1 {percent(point.validation_accuracy)} (validation), "
        f"{percent(point.test_accuracy)} (test)\n"
        f"array {uses[0]}, {uses[1]}\nbits {point.bits}"
    )


def _unit(front: Front, resource: Resource) -> Unit:
    return unit_for((point.use(resource) for point in front.points), SCALES[resource.value])


def front_table(front: Front) -> Table:
    """Return the allocations of a front with all that they take."""
    known = [r for r in ADDITIVE if any(point.use(r) is not None for point in front.points)]
    shown = [(r, _unit(front, r)) for r in known]
    rows = [
        [
            words(f"{number}"),
            share(point.validation_accuracy),
            share(point.test_accuracy),
            *(figure(point.use(r), unit) for r, unit in shown),
            words("✔" if point.on_front else ""),
            words(point.bits),
        ]
        for number, point in enumerate(front.points, 1)
    ]
    return Table(
        caption=f"Allocations along the front; bits of {', '.join(front.layers)}",
        columns=(
            "point",
            "top-1 validation, %",
            "top-1 test, %",
            *(heading(NAMES[r], unit) for r, unit in shown),
            "on the front",
            "bits",
        ),
        rows=rows,
        textual=frozenset({3 + len(shown), 4 + len(shown)}),
    )
