"""What a search has looked at: accuracy against size, and against what it minimises."""

from __future__ import annotations

from collections.abc import Callable

from quant.report import quantities as units
from quant.report.quantities import one, percent, unit_for
from quant.report.results import Cost, Result, Visit
from quant.report.scatter import Dot, Line, ScatterChart, Series, scatter_chart
from quant.report.table import Cell, Table, figure, heading, share, words
from quant.resources import Resource

FINAL = "final training"
OBJECTIVES = {
    "energy_pj": ("energy of the array", units.ENERGY, Resource.ENERGY),
    "latency_ns": ("latency", units.LATENCY, Resource.LATENCY),
    "cycles": ("cycles", units.COUNT, None),
}
Y_NAME = "top-1, validation images, %"


def course_charts(result: Result) -> list[ScatterChart]:
    """Draw the visits, the uniform allocations and the result, as the search has seen them."""
    eight = result.cost.searched.size_bits / result.relative_size
    limits = {entry.resource: entry.limit for entry in result.budgets}

    def size_of(entry: Visit | Cost) -> float:
        if isinstance(entry, Visit):
            return entry.relative_size
        return entry.size_bits / eight

    charts = [
        _chart(
            result,
            size_of,
            "Accuracy against size",
            "size of the weights, of 8 bit",
            limits[Resource.SIZE] / eight if Resource.SIZE in limits else None,
        )
    ]
    if result.objective in OBJECTIVES:
        name, scale, resource = OBJECTIVES[result.objective]
        values = [getattr(visit, result.objective) for visit in result.visits]
        unit = unit_for(values, scale)
        limit = limits.get(resource) if resource else None
        charts.append(
            _chart(
                result,
                lambda entry: float(getattr(entry, result.objective)) / unit.size,
                f"Accuracy against {name}",
                heading(f"{name}, an inference", unit),
                None if limit is None else limit / unit.size,
            )
        )
    return charts


def _chart(
    result: Result,
    place: Callable[[Visit | Cost], float],
    title: str,
    x_name: str,
    limit: float | None,
) -> ScatterChart:
    validation = result.validation_accuracy
    visits = [
        Dot(x=place(visit), y=100 * visit.validation_accuracy, tip=_visit_tip(visit))
        for visit in result.visits
        if visit.label != FINAL
    ]
    uniform = [
        Dot(
            x=place(cost),
            y=100 * validation.uniform[bits],
            tip=f"uniform {bits} bit\n{_said(validation.uniform[bits], cost)}",
            label=f"{bits} bit",
        )
        for bits, cost in result.cost.uniform.items()
    ]
    searched = Dot(
        x=place(result.cost.searched),
        y=100 * validation.searched,
        tip=f"searched\n{_said(validation.searched, result.cost.searched)}",
        label="searched",
    )
    least = validation.floating - float(result.targets["max_drop"])
    lines = [
        Line(at=100 * validation.floating, name="float", name_left=True),
        Line(at=100 * least, name="accuracy target"),
        *([] if limit is None else [Line(at=limit, name="limit", upright=True)]),
    ]
    return scatter_chart(
        [
            Series(name="visited, short training", number=1, dots=visits, joined=True),
            Series(name="uniform, full training", number=2, dots=uniform),
            Series(name="searched, full training", number=3, dots=[searched]),
        ],
        title=title,
        x_name=x_name,
        y_name=Y_NAME,
        lines=lines,
    )


def _said(accuracy: float, cost: Visit | Cost) -> str:
    energy, latency = one(cost.energy_pj, units.ENERGY), one(cost.latency_ns, units.LATENCY)
    return f"top-1 {percent(accuracy)} (validation)\narray {energy}, {latency}"


def _visit_tip(visit: Visit) -> str:
    bits = " ".join(map(str, visit.bits))
    return f"{visit.label}\n{_said(visit.validation_accuracy, visit)}\nbits {bits}"


def visit_table(result: Result) -> Table:
    """Return the visits in their order."""
    energy = unit_for((visit.energy_pj for visit in result.visits), units.ENERGY)
    latency = unit_for((visit.latency_ns for visit in result.visits), units.LATENCY)
    rows = [
        [
            words(f"{number} {visit.label}"),
            share(visit.validation_accuracy),
            Cell(text=f"{visit.relative_size:.3f}", exact=repr(visit.relative_size)),
            figure(visit.energy_pj, energy),
            figure(visit.latency_ns, latency),
            words("✔" if visit.chosen else ""),
            words(" ".join(map(str, visit.bits))),
        ]
        for number, visit in enumerate(result.visits, 1)
    ]
    return Table(
        caption="Allocations that the search has looked at, in order; bits in the layers' order",
        columns=(
            "visit",
            "top-1 validation, %",
            "size, of 8 bit",
            heading("array", energy),
            heading("latency", latency),
            "chosen",
            "bits",
        ),
        rows=rows,
        textual=frozenset({5, 6}),
    )
