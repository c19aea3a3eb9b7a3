"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quant.report import quantities as units
from quant.report.quantities import one, percent, points, ratio
from quant.report.results import Result
from quant.report.runs import Run
from quant.report.scatter import Dot, ScatterChart, Series, scatter_chart
from quant.report.summary import MET, MISSED, drop
from quant.report.table import Cell, Table, heading, words

SHAPES = 4
"""Different signs of a point; more runs take them again."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the page shows of several runs together.

    Parameters
    ----------
    table : Table
        Figures, a column a run.
    bits : Table, optional
        Bits by layer, where the runs have the same layers.
    chart : ScatterChart, optional
        Accuracy against energy.
    note : str
        What else to know.
    """

    table: Table
    bits: Table | None
    chart: ScatterChart | None
    note: str


def comparison(runs: Sequence[tuple[str, Run]]) -> Comparison | None:
    """Compare the searches among some named runs; nothing for fewer than two."""
    found = [(name, run.result) for name, run in runs if run.result is not None]
    if len(found) < 2:
        return None
    tables = {result.provenance.cost_table.sha256 for _, result in found}
    note = "" if len(tables) == 1 else "The runs were priced on different cost tables."
    return Comparison(
        table=_figures(found), bits=_bits(found), chart=_chart(found, note), note=note
    )


def _figures(found: Sequence[tuple[str, Result]]) -> Table:
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("network", lambda r: r.model),
        ("method", lambda r: r.method),
        ("seed", lambda r: str(r.seed)),
        ("hardware", lambda r: r.hardware.table),
        ("targets", lambda r: MET if r.targets_met["all"] else MISSED),
        ("top-1 float, test", lambda r: percent(r.accuracy.floating)),
        ("top-1 searched, test", lambda r: percent(r.accuracy.searched)),
        ("below float", lambda r: points(drop(r))),
        ("weights", lambda r: one(r.cost.searched.size_bits, units.SIZE)),
        ("of 8 bit", lambda r: f"{r.relative_size:.2f}"),
        ("array energy", lambda r: one(r.cost.searched.energy_pj, units.ENERGY)),
        ("of INT8 MACs", _of_int8),
        ("scratchpads (cited)", lambda r: one(r.cost.searched.scratchpad_energy_pj, units.ENERGY)),
        ("DRAM (cited)", lambda r: one(r.cost.searched.dram_energy_pj, units.ENERGY)),
        ("latency", lambda r: one(r.cost.searched.latency_ns, units.LATENCY)),
        ("training steps", lambda r: str(r.provenance.qat.get("total_steps", 0))),
    ]
    return Table(
        caption="Runs side by side",
        columns=("", *(name for name, _ in found)),
        rows=[[words(name), *(Cell(text=say(r)) for _, r in found)] for name, say in rows],
    )


def _of_int8(result: Result) -> str:
    baseline = result.cost.int8_mac
    return ratio(result.cost.searched.energy_pj, baseline.energy_pj if baseline else None)


def _bits(found: Sequence[tuple[str, Result]]) -> Table | None:
    names = [tuple(layer.name for layer in result.layers) for _, result in found]
    if len(set(names)) != 1:
        return None
    rows = [
        [words(name), *(Cell(text=str(result.layers[i].bits)) for _, result in found)]
        for i, name in enumerate(names[0])
    ]
    return Table(
        caption="Bits of each layer, side by side",
        columns=("layer", *(name for name, _ in found)),
        rows=rows,
    )


def _chart(found: Sequence[tuple[str, Result]], note: str) -> ScatterChart | None:
    if any(result.cost.searched.energy_pj is None for _, result in found):
        return None
    energies = [e.energy_pj for _, r in found for e in (r.cost.searched, *r.cost.uniform.values())]
    unit = units.unit_for(energies, units.ENERGY)
    series = []
    for number, (name, result) in enumerate(found):
        costs = {"searched": (result.cost.searched, result.accuracy.searched)} | {
            f"{bits} bit": (cost, result.accuracy.uniform[bits])
            for bits, cost in result.cost.uniform.items()
        }
        dots = [
            Dot(
                x=cost.energy_pj / unit.size,
                y=100 * accuracy,
                tip=f"{name}\n{label}: top-1 {percent(accuracy)} (test)\n"
                f"array {unit.shown(cost.energy_pj)}",
                label=label,
                below=number % 2 == 1,
            )
            for label, (cost, accuracy) in costs.items()
            if cost.energy_pj is not None
        ]
        series.append(Series(name=name, number=number % SHAPES + 1, dots=dots))
    return scatter_chart(
        series,
        title="Accuracy against energy, searched and uniform",
        x_name=heading("energy of the array, an inference", unit),
        y_name="top-1, test images, %",
        note=note,
    )
