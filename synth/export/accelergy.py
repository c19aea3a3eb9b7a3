"""Energy and area reference tables of Accelergy (ERT and ART, version 0.3), in pJ and um2.

The form is that of Accelergy's own output: ``tables``, each a component with ``name`` and
``actions`` of ``name``, ``arguments`` and ``energy``, or with ``area`` of one instance. A
component that an array has several times is named with a range, as in ``pe[0..63]``.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from synth.table import ArrayFigures, CostTable, CostTableError, EngineFigures, MemoryLevel

VERSION = 0.3
"""Accelergy 0.3 reads this version only, 0.4 reads it as well."""
COMPUTE, IDLE, LEAK = "compute", "idle", "leak"


def ert_text(table: CostTable) -> str:
    """Return the energy reference table as YAML; units, methods and sources stand in comments.

    Actions are ``compute`` (a cycle in which the component takes a step, or, for hardware known by
    totals, one multiply-accumulate) with the argument ``weight_bits``, ``idle`` (a cycle in which
    it waits), ``leak`` (leakage of a cycle at the table's clock), and ``read`` and ``write`` of
    memories (an access of ``bits``).

    Raises
    ------
    CostTableError
        If the table has no energy at all.
    """
    tables: list[dict[str, Any]] = []
    for place, hardware in table.hardware.items():
        if isinstance(hardware, ArrayFigures):
            tables += _array_energies(_path(table, place), hardware, table.clock_period_ns)
        else:
            tables += _engine_energies(_path(table, place), hardware)
    for name, level in _levels(table).items():
        tables += _memory_energies(_path(table, name), level)
    tables = [entry for entry in tables if entry["actions"]]
    if not tables:
        raise CostTableError(f"{table.name}: an ERT must have an energy, but the table has none")
    return _text(table, "ERT", tables, "energies in pJ; compute and idle per cycle or per MAC")


def art_text(table: CostTable) -> str:
    """Return the area reference table as YAML; memories are not in it, having no size here.

    Raises
    ------
    CostTableError
        If the table has no area at all.
    """
    tables: list[dict[str, Any]] = []
    for place, hardware in table.hardware.items():
        path = _path(table, place)
        if isinstance(hardware, ArrayFigures):
            tables += [
                {"name": f"{path}.{name}{_range(module.count)}", "area": module.area_um2}
                for name, module in hardware.modules.items()
            ]
        else:
            tables.append({"name": path, "area": hardware.area_um2})
    tables = [entry for entry in tables if entry["area"] is not None]
    if not tables:
        raise CostTableError(f"{table.name}: an ART must have an area, but the table has none")
    return _text(table, "ART", tables, "areas in um2, of one instance")


def _array_energies(path: str, array: ArrayFigures, clock_ns: float | None) -> list[dict[str, Any]]:
    tables = []
    for name, module in array.modules.items():
        actions = [
            _action(COMPUTE, module.energy_pj[mode.name], weight_bits=mode.bits)
            for mode in array.weight_modes
            if mode.name in module.energy_pj
        ]
        if module.idle_energy_pj is not None:
            actions.append(_action(IDLE, module.idle_energy_pj))
        if module.leakage_nw is not None and clock_ns is not None:
            actions.append(_action(LEAK, module.leakage_nw * clock_ns * 1e-6))
        tables.append({"name": f"{path}.{name}{_range(module.count)}", "actions": actions})
    return tables


def _engine_energies(path: str, engine: EngineFigures) -> list[dict[str, Any]]:
    energies = [(mode, engine.energy_per_mac_pj(mode)) for mode in engine.weight_modes]
    actions = [
        _action(COMPUTE, energy, weight_bits=mode.bits)
        for mode, energy in energies
        if energy is not None
    ]
    return [{"name": path, "actions": actions}]


def _memory_energies(path: str, level: MemoryLevel) -> list[dict[str, Any]]:
    bits = level.access_bits or 1
    actions = [
        _action(name, bits * cited.value, bits=bits)
        for name, cited in (("read", level.read_pj_per_bit), ("write", level.write_pj_per_bit))
        if cited is not None
    ]
    return [{"name": path, "actions": actions}]


def _action(name: str, energy_pj: float, **arguments: int) -> dict[str, Any]:
    return {"name": name, "arguments": arguments or None, "energy": float(f"{energy_pj:.6g}")}


def _levels(table: CostTable) -> dict[str, MemoryLevel]:
    if table.memory is None:
        return {}
    return {"scratchpad": table.memory.scratchpad, "dram": table.memory.dram}


def _path(table: CostTable, place: str) -> str:
    """Return a component's name: letters, digits and ``_`` between dots, as Accelergy wants."""
    system = re.sub(r"\W", "_", table.name)
    return f"{system}." + re.sub(r"[^\w.]", "_", place.removeprefix("baselines."))


def _range(count: int) -> str:
    return f"[0..{count - 1}]" if count > 1 else ""


def _text(table: CostTable, kind: str, tables: list[dict[str, Any]], units: str) -> str:
    notes = [f"{table.name}: {units}"]
    for place, hardware in table.hardware.items():
        energy = f"{hardware.energy_method}, leakage {hardware.area_method}"
        method = hardware.area_method if kind == "ART" else energy
        notes.append(f"{place}: {method} {hardware.source}".rstrip())
    for name, level in _levels(table).items() if kind == "ERT" else ():
        notes += [
            f"{name} {action}: {level.method}, {cited.source}"
            for action, cited in (
                ("read", level.read_pj_per_bit),
                ("write", level.write_pj_per_bit),
            )
            if cited is not None
        ]
    head = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    body: str = yaml.safe_dump({kind: {"version": VERSION, "tables": tables}}, sort_keys=False)
    return head + body
