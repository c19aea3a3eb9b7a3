"""The hardware of a run: what it is, and where its area and energy go."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant.report import quantities as units
from quant.report.bars import Bar, BarChart, Segment, bar_chart
from quant.report.breakdown import HardwareRow, PartCost, hardware_rows, parts_of
from quant.report.quantities import MISSING, percent, unit_for
from quant.report.table import Cell, Table, figure, heading, words
from synth.table import ArrayFigures, CostTable, MemoryLevel


@dataclass(frozen=True, kw_only=True)
class HardwareView:
    """What the page shows of a cost table.

    Parameters
    ----------
    facts : tuple of (str, str)
        Name and text.
    charts : tuple of BarChart
        Area, and energy at each weight mode, by part.
    tables : tuple of Table
        The hardware beside the baselines, and the parts.
    memories : tuple of str
        The cited figures with their sources.
    """

    facts: tuple[tuple[str, str], ...]
    charts: tuple[BarChart, ...]
    tables: tuple[Table, ...]
    memories: tuple[str, ...] = field(default=())


def hardware_view(table: CostTable) -> HardwareView:
    """Return the hardware of a table, as far as the table knows it."""
    array = table.array
    parts = sorted(parts_of(array), key=lambda part: -(part.area_um2 or 0.0))
    library = table.library
    about = [
        library.corner,
        f"{library.node_nm:g} nm" if library.node_nm else "",
        f"{library.voltage_v:g} V" if library.voltage_v else "",
        f"{library.temperature_c:g} °C" if library.temperature_c is not None else "",
    ]
    facts = [
        ("Hardware", array.label),
        ("Area", _made(units.one(array.area_um2, units.AREA), array.area_method)),
        (
            "Cells",
            f"{library.name} ({', '.join(part for part in about if part) or 'no more said'})",
        ),
        ("Clock", f"{table.clock_period_ns:g} ns" if table.clock_period_ns else MISSING),
        ("Shortest period", _made(_period(array.min_period_ns), array.period_method)),
    ]
    if isinstance(array, ArrayFigures):
        p = array.parameters
        shape = f"{p.rows} x {p.cols} PEs of {p.lanes} lanes, {p.pe.value}"
        facts.insert(1, ("Array", f"{shape}; {p.act_bits}-bit activations"))
    if library.note:
        facts.append(("Note", library.note))
    if array.source:
        facts.append(("Source", array.source))
    tables = [_beside(hardware_rows(table))]
    if parts:
        tables.append(_part_table(parts, array.area_method, array.energy_method))
    return HardwareView(
        facts=tuple(facts),
        charts=tuple(_charts(parts, array.area_method, array.energy_method)),
        tables=tuple(tables),
        memories=tuple(_memories(table)),
    )


def _made(text: str, method: str) -> str:
    return text if text == MISSING else f"{text} ({method})"


def _period(period_ns: float | None) -> str:
    return MISSING if period_ns is None else f"{period_ns:.2f} ns"


def _charts(parts: list[PartCost], area_method: str, energy_method: str) -> list[BarChart]:
    charts = []
    areas = [part.area_um2 for part in parts]
    if parts and all(area is not None for area in areas):
        unit = unit_for(areas, units.AREA)
        total = sum(area for area in areas if area is not None)
        bars = [_bar(part.name, part.area_um2 or 0.0, total, unit) for part in parts]
        charts.append(bar_chart(bars, title=f"Area by part, {unit.name} ({area_method})"))
    modes = list(dict.fromkeys(mode for part in parts for mode in part.fj_per_mac))
    most = max((value for part in parts for value in part.fj_per_mac.values()), default=0.0)
    unit = unit_for([most], units.PER_MAC)
    for mode in modes:
        known = [(part.name, part.fj_per_mac[mode]) for part in parts if mode in part.fj_per_mac]
        total = sum(value for _, value in known)
        charts.append(
            bar_chart(
                [_bar(name, value, total, unit) for name, value in known],
                title=f"Energy of a MAC by part at {mode[1:]}-bit weights, {unit.name} "
                f"({energy_method})",
                note=f"{unit.shown(total)} in all, leakage not included.",
                most=most,
            )
        )
    return charts


def _bar(name: str, value: float, total: float, unit: units.Unit) -> Bar:
    tip = f"{name}\n{unit.shown(value)}, {percent(value / total if total else 0, 1)}"
    return Bar(
        label=name, segments=[Segment(value=value, series=1, tip=tip)], shown=unit.bare(value)
    )


def _part_table(parts: list[PartCost], area_method: str, energy_method: str) -> Table:
    area = unit_for((part.area_um2 for part in parts), units.AREA)
    modes = list(dict.fromkeys(mode for part in parts for mode in part.fj_per_mac))
    values = [value for part in parts for value in part.fj_per_mac.values()]
    energy = unit_for(values, units.PER_MAC)
    rows = [
        [
            words(part.name),
            figure(part.area_um2, area),
            *(figure(part.fj_per_mac.get(mode), energy) for mode in modes),
        ]
        for part in parts
    ]
    return Table(
        caption=f"Parts of the array: area ({area_method}) and energy of a MAC ({energy_method}, "
        "leakage not included)",
        columns=("part", heading("area", area), *(heading(f"MAC {m}", energy) for m in modes)),
        rows=rows,
    )


def _beside(rows: list[HardwareRow]) -> Table:
    area = unit_for((row.area_um2 for row in rows), units.AREA)
    modes = list(dict.fromkeys(mode for row in rows for mode in row.fj_per_mac))
    energy = unit_for((v for row in rows for v in row.fj_per_mac.values()), units.PER_MAC)
    cells = [
        [
            words(f"{row.name} ({row.role})"),
            figure(row.area_um2, area),
            Cell(text=_period(row.min_period_ns).removesuffix(" ns")),
            *(figure(row.fj_per_mac.get(mode), energy) for mode in modes),
            words("; ".join(dict.fromkeys(row.methods))),
        ]
        for row in rows
    ]
    return Table(
        caption="The array and the baselines of its cost table; energy of a multiply-accumulate "
        "of the table's own operands",
        columns=(
            "hardware",
            heading("area", area),
            "shortest period, ns",
            *(heading(f"MAC {mode}", energy) for mode in modes),
            "made by",
        ),
        rows=cells,
        textual=frozenset({3 + len(modes)}),
    )


def _memories(table: CostTable) -> list[str]:
    if table.memory is None:
        return []
    found = []
    levels: dict[str, MemoryLevel] = {
        "Scratchpads": table.memory.scratchpad,
        "DRAM": table.memory.dram,
    }
    for name, level in levels.items():
        for what, cited in (("read", level.read_pj_per_bit), ("written", level.write_pj_per_bit)):
            if cited is not None:
                text = f"{name}, a bit {what}: {cited.value:g} pJ (cited: {cited.source})"
                found.append(text)
    return found
