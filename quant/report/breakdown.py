"""Area and energy of the hardware by part, summed from a cost table's modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from hw.precision import WeightMode
from synth.table import ArrayFigures, CostTable, Hardware, ModuleFigures


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """A part of the hardware, all its instances together.

    Parameters
    ----------
    name : str
        Of the part, or of the module where the table knows no parts.
    area_um2 : float, optional
        Cell area.
    fj_per_mac : mapping of str to float
        By weight mode: energy per multiply-accumulate, leakage not included.
    """

    name: str
    area_um2: float | None
    fj_per_mac: Mapping[str, float]


def parts_of(hardware: Hardware) -> list[PartCost]:
    """Return the parts of an array, or its modules, or nothing of hardware known by totals.

    Energies are of the operands and the utilisation that the table was measured with.
    """
    if not isinstance(hardware, ArrayFigures):
        return []
    macs = {mode: _macs_per_step(hardware, mode) for mode in hardware.weight_modes}
    modules = hardware.modules
    if all(module.parts is not None for module in modules.values()):
        names = dict.fromkeys(n for m in modules.values() for n in m.parts or {})
        return [_part(name, modules.values(), macs) for name in names]
    return [
        PartCost(
            name=name,
            area_um2=None if module.area_um2 is None else module.count * module.area_um2,
            fj_per_mac={
                mode.name: 1e3 * module.count * module.energy_pj[mode.name] / per_step
                for mode, per_step in macs.items()
                if mode.name in module.energy_pj
            },
        )
        for name, module in modules.items()
    ]


def _part(
    name: str, modules: Iterable[ModuleFigures], macs: Mapping[WeightMode, float]
) -> PartCost:
    found = [(m.count, m.parts[name]) for m in modules if m.parts and name in m.parts]
    return PartCost(
        name=name,
        area_um2=fsum(count * part.area_um2 for count, part in found),
        fj_per_mac={
            mode.name: fsum(
                1e3 * count * part.energy_pj.get(mode.name, 0.0) for count, part in found
            )
            / per_step
            for mode, per_step in macs.items()
        },
    )


def _macs_per_step(array: ArrayFigures, mode: WeightMode) -> float:
    return array.macs_per_cycle(mode) * array.sampled_utilisation.get(mode.name, 1.0)


@dataclass(frozen=True, kw_only=True)
class HardwareRow:
    """One piece of hardware of a table, beside the others.

    Parameters
    ----------
    name : str
        Its label.
    role : str
        What it is in the table: the array, or a baseline by name.
    area_um2, min_period_ns : float, optional
        Area in all, shortest clock period.
    fj_per_mac : mapping of str to float or None
        By weight mode: energy per multiply-accumulate.
    methods : tuple of str
        How area, period and energy were made.
    """

    name: str
    role: str
    area_um2: float | None
    min_period_ns: float | None
    fj_per_mac: Mapping[str, float | None]
    methods: tuple[str, str, str]


def hardware_rows(table: CostTable) -> list[HardwareRow]:
    """Return the array and the baselines of a table."""
    rows = []
    for role, hardware in table.hardware.items():
        energies = {
            mode.name: hardware.energy_per_mac_pj(mode)
            for mode in table.modes
            if mode in hardware.weight_modes
        }
        rows.append(
            HardwareRow(
                name=hardware.label,
                role="array" if role == "array" else role.removeprefix("baselines."),
                area_um2=hardware.area_um2,
                min_period_ns=hardware.min_period_ns,
                fj_per_mac={m: None if e is None else 1e3 * e for m, e in energies.items()},
                methods=(hardware.area_method, hardware.period_method, hardware.energy_method),
            )
        )
    return rows
