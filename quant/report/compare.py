"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quant.report import quantities as units
from quant.report.quantised import Quantised
from quant.report.quantities import MISSING, one, percent, points, ratio
from quant.report.results import Result
from quant.report.runs import Run
from quant.report.scatter import Dot, ScatterChart, Series, scatter_chart
from quant.report.summary import MET, MISSED, drop
from quant.report.table import Cell, Table, heading, words

Found = Result | Quantised
"""A search, or a quantisation without one."""

SEARCHED, QUANTISED = "searched", "quantised"
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
    charts : tuple of ScatterChart
        Accuracy against energy, of two searches or more; against size, if a run is no search.
    note : str
        What else to know.
    """

    table: Table
    bits: Table | None
    charts: tuple[ScatterChart, ...]
    note: str


def comparison(runs: Sequence[tuple[str, Run]]) -> Comparison | None:
    """Compare the runs with one allocation among some; nothing for fewer than two."""
    entries = [(name, run.result or run.quantised) for name, run in runs]
    found = [(name, entry) for name, entry in entries if entry is not None]
    if len(found) < 2:
        return None
    searches = [(name, entry) for name, entry in found if isinstance(entry, Result)]
    tables = {result.provenance.cost_table.sha256 for _, result in searches}
    note = "" if len(tables) < 2 else "The runs were priced on different cost tables."
    charts = [_chart(searches, note) if len(searches) > 1 else None]
    if len(searches) < len(found):
        charts.append(_size_chart(found))
    return Comparison(
        table=_figures(found),
        bits=_bits(found),
        charts=tuple(chart for chart in charts if chart is not None),
        note=note,
    )


def _figures(found: Sequence[tuple[str, Found]]) -> Table:
    """Return a column a run; a figure that a run does not have is `MISSING`, a row of none out."""
    rows: list[tuple[str, Callable[[Found], str]]] = [
        ("network", lambda r: r.model),
        ("method", lambda r: r.method),
        ("seed", lambda r: str(r.seed)),
        ("hardware", _of_search(lambda r: r.hardware.table)),
        ("targets", _of_search(lambda r: MET if r.targets_met["all"] else MISSED)),
        ("top-1 float, test", lambda r: percent(r.accuracy.floating)),
        ("top-1 quantised, test", lambda r: percent(r.accuracy.searched)),
        ("below float", lambda r: points(drop(r))),
        ("weights", lambda r: one(_size_bits(r), units.SIZE)),
        ("of 8 bit", lambda r: f"{r.relative_size:.2f}"),
        ("packed", _packed),
        ("array energy", _of_search(lambda r: one(r.cost.searched.energy_pj, units.ENERGY))),
        ("of INT8 MACs", _of_search(_of_int8)),
        (
            "scratchpads (cited)",
            _of_search(lambda r: one(r.cost.searched.scratchpad_energy_pj, units.ENERGY)),
        ),
        (
            "DRAM (cited)",
            _of_search(lambda r: one(r.cost.searched.dram_energy_pj, units.ENERGY)),
        ),
        ("latency", _of_search(lambda r: one(r.cost.searched.latency_ns, units.LATENCY))),
        (
            "training steps",
            lambda r: str(r.provenance.qat.get("total_steps", 0)) if isinstance(r, Result) else "0",
        ),
        (
            "calibration images",
            lambda r: MISSING if isinstance(r, Result) else f"{r.data.images.calibration:,}",
        ),
        (
            "time of all layers",
            lambda r: MISSING if isinstance(r, Result) else f"{r.seconds:.2f} s",
        ),
    ]
    told = [(name, [say(entry) for _, entry in found]) for name, say in rows]
    return Table(
        caption="Runs side by side",
        columns=("", *(name for name, _ in found)),
        rows=[
            [words(name), *(Cell(text=text) for text in texts)]
            for name, texts in told
            if set(texts) != {MISSING}
        ],
    )


def _of_search(say: Callable[[Result], str]) -> Callable[[Found], str]:
    return lambda entry: say(entry) if isinstance(entry, Result) else MISSING


def _size_bits(entry: Found) -> int:
    return entry.cost.searched.size_bits if isinstance(entry, Result) else entry.size_bits


def _packed(entry: Found) -> str:
    """Return the bytes of the network; a search tells those of its integers, as the array packs."""
    if isinstance(entry, Quantised):
        return f"{entry.array_packed_bytes:,} bytes"
    integers = entry.integer_network
    found = integers.packed_bytes if integers else None
    return MISSING if found is None else f"{found:,} bytes"


def _of_int8(result: Result) -> str:
    baseline = result.cost.int8_mac
    return ratio(result.cost.searched.energy_pj, baseline.energy_pj if baseline else None)


def _bits(found: Sequence[tuple[str, Found]]) -> Table | None:
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
        costs = {SEARCHED: (result.cost.searched, result.accuracy.searched)} | {
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


def _size_chart(found: Sequence[tuple[str, Found]]) -> ScatterChart:
    sizes = [size for _, entry in found for size, _ in _points(entry).values()]
    unit = units.unit_for(sizes, units.SIZE)
    series = [
        Series(
            name=name,
            number=number % SHAPES + 1,
            dots=[
                Dot(
                    x=size / unit.size,
                    y=100 * accuracy,
                    tip=f"{name}\n{label}: top-1 {percent(accuracy)} (test)\n"
                    f"weights {unit.shown(size)}",
                    label=label,
                    below=label in (SEARCHED, QUANTISED),  # clear of the uniform ones
                )
                for label, (size, accuracy) in _points(entry).items()
            ],
        )
        for number, (name, entry) in enumerate(found)
    ]
    return scatter_chart(
        series,
        title="Accuracy against size",
        x_name=heading("size of the weights", unit),
        y_name="top-1, test images, %",
    )


def _points(entry: Found) -> dict[str, tuple[int, float]]:
    """Return size in bits and accuracy of what a run has measured, by name."""
    if isinstance(entry, Quantised):
        return {QUANTISED: (entry.size_bits, entry.accuracy.searched)}
    uniform = {
        f"{bits} bit": (cost.size_bits, entry.accuracy.uniform[bits])
        for bits, cost in entry.cost.uniform.items()
    }
    return {SEARCHED: (_size_bits(entry), entry.accuracy.searched), **uniform}
