"""A cost table as a flat list of figures, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields

from synth.table import ArrayFigures, Cited, CostTable, Hardware


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a table.

    Parameters
    ----------
    hardware : str
        Place in the table: ``array``, ``baselines.NAME``, ``memory.scratchpad``, ``memory.dram``.
    module : str
        Name of the module; empty for totals.
    count : int
        How many of them there are.
    figure : str
        Name in the table, without unit.
    mode : str
        Weight mode, ``W2`` to ``W8``; empty where the figure is the same for all.
    value : float
        In `unit`.
    unit : str
        Unit.
    method : str
        How it was made; ``hw.schedule`` for what follows from the configuration.
    source : str
        Where a cited figure is from.
    node_nm : float or None
        Its node.
    """

    hardware: str
    module: str = ""
    count: int = 1
    figure: str
    mode: str = ""
    value: float
    unit: str
    method: str
    source: str = ""
    node_nm: float | None = None


def figures(table: CostTable) -> list[Figure]:
    """List all figures that a table has, module by module, then totals, then memories."""
    listed: list[Figure] = []
    for place, hardware in table.hardware.items():
        if isinstance(hardware, ArrayFigures):
            listed += _modules(place, hardware)
        listed += _totals(place, hardware)
    node_nm = table.library.node_nm
    listed = [
        Figure(**{f.name: getattr(figure, f.name) for f in fields(Figure)} | {"node_nm": node_nm})
        for figure in listed
    ]
    return listed + list(_memories(table))


def _modules(place: str, array: ArrayFigures) -> Iterator[Figure]:
    area, period, energy = array.area_method, array.period_method, array.energy_method
    for name, module in array.modules.items():
        single: list[tuple[str, float | None, str, str]] = [
            ("area", module.area_um2, "um2", area),
            ("sequential_area", module.sequential_area_um2, "um2", area),
            ("min_period", module.min_period_ns, "ns", period),
            ("leakage", module.leakage_nw, "nW", area),
            ("idle_energy", module.idle_energy_pj, "pJ/cycle", energy),
        ]
        per_mode = [
            ("energy", mode, value, "pJ/cycle", energy) for mode, value in module.energy_pj.items()
        ]
        for figure, mode, value, unit, method in [
            *((figure, "", value, unit, method) for figure, value, unit, method in single),
            *per_mode,
        ]:
            if value is not None:
                yield Figure(
                    hardware=place,
                    module=name,
                    count=module.count,
                    figure=figure,
                    mode=mode,
                    value=value,
                    unit=unit,
                    method=method,
                    source=array.source if method == "cited" else "",
                )


def _totals(place: str, hardware: Hardware) -> Iterator[Figure]:
    ours = isinstance(hardware, ArrayFigures)
    entries: list[tuple[str, str, float | None, str, str]] = [
        ("area", "", hardware.area_um2, "um2", hardware.area_method),
        ("min_period", "", hardware.min_period_ns, "ns", hardware.period_method),
    ]
    for mode in hardware.weight_modes:
        throughput = hardware.macs_per_cycle(mode)
        made = "hw.schedule" if ours else "cited"
        entries.append(("macs_per_cycle", mode.name, throughput, "MAC/cycle", made))
        energy = hardware.energy_per_mac_pj(mode)
        entries.append(("energy_per_mac", mode.name, energy, "pJ/MAC", hardware.energy_method))
    for figure, name, value, unit, method in entries:
        if value is not None:
            yield Figure(
                hardware=place,
                figure=figure,
                mode=name,
                value=value,
                unit=unit,
                method=method,
                source=hardware.source if method == "cited" else "",
            )


def _memories(table: CostTable) -> Iterator[Figure]:
    if table.memory is None:
        return
    for name, level in (("scratchpad", table.memory.scratchpad), ("dram", table.memory.dram)):
        cited: list[tuple[str, Cited | None, str, int | None]] = [
            ("read", level.read_pj_per_bit, "pJ/bit", 1),
            ("write", level.write_pj_per_bit, "pJ/bit", 1),
            ("read", level.read_pj_per_bit, "pJ/access", level.access_bits),
            ("write", level.write_pj_per_bit, "pJ/access", level.access_bits),
            ("area", level.area_um2_per_bit, "um2/bit", 1),
        ]
        for figure, entry, unit, bits in cited:
            if entry is not None and bits is not None:
                yield Figure(
                    hardware=f"memory.{name}",
                    figure=figure,
                    value=bits * entry.value,
                    unit=unit,
                    method=level.method,
                    source=entry.source,
                    node_nm=entry.node_nm,
                )


def csv_text(table: CostTable) -> str:
    """Return all figures of a table as CSV: a header, then one figure a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f.name for f in fields(Figure))
    for figure in figures(table):
        writer.writerow("" if value is None else value for value in astuple(figure))
    return text.getvalue()
