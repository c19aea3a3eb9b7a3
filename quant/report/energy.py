"""Energy of layers, or of networks, as bars of its parts."""

from __future__ import annotations

from collections.abc import Iterable

from quant.report.bars import Bar, BarChart, Segment, bar_chart
from quant.report.quantities import ENERGY, MISSING, Unit, percent, unit_for
from quant.report.results import Cost

PARTS = {
    "array, switching": "array_energy_pj",
    "array, leakage": "leakage_energy_pj",
    "scratchpads (cited)": "scratchpad_energy_pj",
    "DRAM (cited)": "dram_energy_pj",
}
"""Parts and their fields, in the order of the colours."""
WHOLE = {"array, leakage included": "energy_pj"}
"""Of hardware that is known by totals."""


def energy_parts(cost: Cost) -> dict[str, float]:
    """Return the known parts of an energy, pJ."""
    array_known = cost.array_energy_pj is not None
    fields = PARTS if array_known else {**WHOLE, **dict(list(PARTS.items())[2:])}
    found = {name: getattr(cost, field) for name, field in fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def energy_chart(costs: Iterable[tuple[str, Cost]], title: str) -> BarChart | None:
    """Draw the energies of some costs, or nothing where no energy is known."""
    known = [(label, energy_parts(cost)) for label, cost in costs]
    if not any(parts for _, parts in known):
        return None
    unit = unit_for((sum(parts.values()) for _, parts in known), ENERGY)
    names = list(dict.fromkeys(name for _, parts in known for name in parts))
    order = [name for name in {**PARTS, **WHOLE} if name in names]
    missing = [name for name in PARTS if name not in names and not (set(names) & set(WHOLE))]
    bars = [_bar(label, parts, order, unit) for label, parts in known]
    note = f"Not in the cost table: {', '.join(missing)}." if missing else ""
    return bar_chart(bars, title=f"{title}, {unit.name}", note=note, series=order)


def _bar(label: str, parts: dict[str, float], order: list[str], unit: Unit) -> Bar:
    total = sum(parts.values())
    segments = [
        Segment(
            value=parts[name],
            series=number,
            tip=f"{label}\n{name}: {unit.shown(parts[name])}\n"
            f"{percent(parts[name] / total if total else 0, 0)} of {unit.shown(total)}",
        )
        for number, name in enumerate(order, 1)
        if name in parts
    ]
    return Bar(label=label, segments=segments, shown=unit.bare(total) if parts else MISSING)
