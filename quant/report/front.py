"""A walked front: accuracy against one resource, and the allocations behind it."""

from __future__ import annotations

from quant.report.quantities import MISSING, SCALES, Unit, percent, unit_for
from quant.report.results import Front, Point
from quant.report.scatter import Dot, Line, ScatterChart, Series, scatter_chart
from quant.report.table import Cell, Table, figure, heading, share, words
from quant.resources import ADDITIVE, Resource

NAMES = {
    Resource.SIZE: "weights",
    Resource.ENERGY: "energy of the array",
    Resource.LATENCY: "latency",
    Resource.BOPS: "BOPs",
}


def front_charts(front: Front) -> list[ScatterChart]:
    """Draw a front on validation and on test images; nothing if no point can be placed."""
    if all(point.use(front.resource) is None for point in front.points):
        return []
    steps = front.qat_steps
    trained = f"each trained for {steps} steps" if steps else "calibrated, not trained"
    note = f"{len(front.points)} allocations, {trained}, each the least sensitive within its limit."
    return [
        _chart(front, "validation", front.floating.validation_accuracy, note),
        _chart(front, "test", front.floating.test_accuracy, "The same allocations."),
    ]


def _chart(front: Front, images: str, floating: float, note: str) -> ScatterChart:
    resource = front.resource
    unit = _unit(front, resource)
    placed = [(p, use) for p in front.points if (use := p.use(resource)) is not None]
    kinds = [
        Series(
            name=name,
            number=number,
            dots=[
                Dot(
                    x=use / unit.size,
                    y=100 * (p.test_accuracy if images == "test" else p.validation_accuracy),
                    tip=_tip(front, p),
                )
                for p, use in placed
                if p.on_front is on
            ],
            joined=on,
        )
        for name, number, on in (("on the front", 1, True), ("not on the front", 2, False))
    ]
    return scatter_chart(
        [kind for kind in kinds if kind.dots],
        title=f"Accuracy on {images} images against {NAMES[resource]}",
        note=note,
        x_name=heading(f"{NAMES[resource]}, an inference", unit),
        y_name=f"top-1, {images} images, %",
        lines=[Line(at=100 * floating, name="float", name_left=True)],
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
        ]
        for number, point in enumerate(front.points, 1)
    ]
    return Table(
        caption="Allocations along the front",
        columns=(
            "point",
            "top-1 validation, %",
            "top-1 test, %",
            *(heading(NAMES[r], unit) for r, unit in shown),
            "on the front",
        ),
        rows=rows,
        textual=frozenset({3 + len(shown)}),
    )


def bits_table(front: Front) -> Table:
    """Return the bits of every layer, a column an allocation."""
    columns = [point.bits.split() for point in front.points]
    rows = [
        [words(name), *(Cell(text=bits[i] if i < len(bits) else MISSING) for bits in columns)]
        for i, name in enumerate(front.layers)
    ]
    return Table(
        caption="Bits of each layer along the front, by point",
        columns=("layer", *(str(number) for number in range(1, len(columns) + 1))),
        rows=rows,
    )
