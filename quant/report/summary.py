"""A run against its targets, and beside the uniform allocations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quant.budget import ROUNDING
from quant.report import quantities as units
from quant.report.quantised import Quantised
from quant.report.quantities import one, percent, points, ratio, unit_for
from quant.report.results import Cost, Result
from quant.report.table import Cell, Table, figure, heading, share, words
from quant.resources import Resource

MET, MISSED = "met", "missed"
COST_OF = {
    Resource.SIZE: "size_bits",
    Resource.ENERGY: "energy_pj",
    Resource.LATENCY: "latency_ns",
}
"""Fields of a cost; BOPs and area are not in it."""
OBJECTIVES = {
    "energy_pj": "array energy",
    "latency_ns": "latency",
    "cycles": "number of cycles",
    "size_bits": "size",
}
"""What a search minimises, in words."""


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A figure that is read first.

    Parameters
    ----------
    name, value, note : str
        What it is, the figure with its unit, what it is to be compared with.
    met : bool, optional
        Whether its target is met; None if it has none.
    """

    name: str
    value: str
    note: str
    met: bool | None = None


def drop(result: Result | Quantised) -> float:
    """Loss of top-1 accuracy on the test images, a fraction."""
    return result.accuracy.floating - result.accuracy.searched


def key_figures(result: Result) -> list[KeyFigure]:
    """Return accuracy, size, energy and latency."""
    cost, eight = result.cost.searched, result.cost.uniform.get("8")
    limited = {entry.resource: entry for entry in result.budgets}
    most = float(result.targets["max_drop"])
    found = [
        KeyFigure(
            name="Top-1, test images",
            value=percent(result.accuracy.searched),
            note=f"{points(drop(result))} below float {percent(result.accuracy.floating)}; "
            f"at most {points(most)}",
            met=result.targets_met["accuracy"],
        )
    ]
    for name, resource, scale in (
        ("Weights", Resource.SIZE, units.SIZE),
        ("Array energy per inference", Resource.ENERGY, units.ENERGY),
        ("Latency per inference", Resource.LATENCY, units.LATENCY),
    ):
        field = COST_OF[resource]
        value = getattr(cost, field)
        notes = []
        if resource is Resource.SIZE:
            notes.append(f"{result.relative_size:.2f} of 8 bit")
        elif eight is not None and getattr(eight, field):
            notes.append(f"{ratio(value, getattr(eight, field))} of uniform 8 bit")
        if result.cost.int8_mac is not None and resource is not Resource.SIZE:
            of = ratio(value, getattr(result.cost.int8_mac, field))
            notes.append(f"{of} of INT8 MACs on 8-bit weights")
        entry = limited.get(resource)
        if entry is not None:
            notes.append(f"at most {one(entry.limit, scale)}")
        if value is None:
            notes = ["the cost table does not tell"]
        found.append(
            KeyFigure(
                name=name,
                value=one(value, scale),
                note="; ".join(notes),
                met=entry.met if entry else None,
            )
        )
    return found


def target_table(result: Result) -> Table:
    """Return each target with its limit, what was reached, and the least that can be."""
    met = result.targets_met
    rows = [
        [
            words("loss of top-1 accuracy (test images)"),
            words(points(float(result.targets["max_drop"]))),
            Cell(text=points(drop(result)), exact=repr(drop(result))),
            words(f"{points(result.smallest_validation_drop)} (validation images)"),
            _verdict(met["accuracy"]),
        ]
    ]
    for entry in result.budgets:
        scale = units.SCALES[entry.resource.value]
        rows.append(
            [
                words(entry.resource.value if entry.resource is not Resource.BOPS else "BOPs"),
                Cell(text=one(entry.limit, scale), exact=repr(entry.limit)),
                Cell(text=one(entry.value, scale), exact=repr(entry.value)),
                Cell(
                    text=one(entry.smallest_reachable, scale), exact=repr(entry.smallest_reachable)
                ),
                _verdict(entry.met),
            ]
        )
    return Table(
        caption="Targets",
        columns=("target", "at most", "reached", "smallest that can be reached", "verdict"),
        rows=rows,
        textual=frozenset({4}),
    )


def _verdict(met: bool) -> Cell:
    return words(f"✔ {MET}", "good") if met else words(f"✘ {MISSED}", "bad")


def alternatives(result: Result) -> Iterator[tuple[str, float | None, float | None, Cost]]:
    """Yield each allocation that was priced: its name, top-1 on test and validation, its cost."""
    test, validation, cost = result.accuracy, result.validation_accuracy, result.cost
    yield "searched", test.searched, validation.searched, cost.searched
    for bits, entry in cost.uniform.items():
        yield f"uniform {bits} bit", test.uniform[bits], validation.uniform[bits], entry
    if cost.int8_mac is not None:
        yield "INT8 MACs, 8-bit weights", None, None, cost.int8_mac
    if cost.int8_mac_same_weights is not None:
        yield "INT8 MACs, searched weights", None, None, cost.int8_mac_same_weights


def cost_table(result: Result) -> Table:
    """Return the result beside float, the uniform allocations and the INT8 multipliers."""
    rows = list(alternatives(result))
    columns = [
        ("weights", "size_bits", units.SIZE),
        ("array", "energy_pj", units.ENERGY),
        ("scratchpads (cited)", "scratchpad_energy_pj", units.ENERGY),
        ("DRAM (cited)", "dram_energy_pj", units.ENERGY),
        ("cycles", "cycles", units.COUNT),
        ("latency", "latency_ns", units.LATENCY),
    ]
    shown = [
        (name, field, unit_for((getattr(row[3], field) for row in rows), scale))
        for name, field, scale in columns
    ]
    cells = [
        [
            words("float"),
            share(result.accuracy.floating),
            share(result.validation_accuracy.floating),
            *(words("") for _ in shown),
        ]
    ]
    for name, test, validation, cost in rows:
        figures = [figure(getattr(cost, field), unit) for _, field, unit in shown]
        cells.append([words(name), share(test), share(validation), *figures])
    headings = [heading(name, unit) for name, _, unit in shown]
    steps = result.provenance.qat.get("total_steps", 0)
    trained = f"each trained for {steps} steps" if steps else "calibrated, not trained"
    return Table(
        caption=f"Accuracy and cost of one inference; {trained}",
        columns=("", "top-1 test, %", "top-1 validation, %", *headings),
        rows=cells,
    )


def as_good(result: Result) -> str:
    """Say which uniform allocations meet the same targets at no higher cost; empty if none.

    Judged as the search is: by the test images, and by the cost that the search has minimised.
    """
    objective = result.objective
    ours = getattr(result.cost.searched, objective, None)
    if ours is None or any(entry.resource not in COST_OF for entry in result.budgets):
        return ""
    found = []
    for bits, cost in result.cost.uniform.items():
        theirs = getattr(cost, objective)
        within = all(
            getattr(cost, COST_OF[entry.resource]) <= entry.limit * (1 + ROUNDING)
            for entry in result.budgets
        )
        lost = result.accuracy.floating - result.accuracy.uniform[bits]
        accurate = lost <= float(result.targets["max_drop"]) + ROUNDING
        same = {layer.bits for layer in result.layers} == {int(bits)}
        if within and accurate and not same and theirs is not None and theirs <= ours:
            found.append(
                f"uniform {bits} bit ({percent(result.accuracy.uniform[bits])}, "
                f"{one(cost.size_bits, units.SIZE)}, {one(cost.energy_pj, units.ENERGY)})"
            )
    if not found:
        return ""
    name = OBJECTIVES.get(objective, objective)
    return f"Uniform bits meet the same targets at no higher {name}: {'; '.join(found)}."
