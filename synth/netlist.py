"""A mapped netlist: instances of library cells joined by numbered nets."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from synth.cells import Cell, LibertyError, Library

DEFAULT_LOAD_FF = 2.0
"""About one gate input."""

Net = int | str
"""A net number, or the constant "0", "1" or "x"."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A cell of the netlist and the nets on its pins."""

    name: str
    cell: Cell
    nets: dict[str, Net]


@dataclass(frozen=True, kw_only=True)
class Netlist:
    """One flat module mapped to one library.

    Parameters
    ----------
    top : str
        Module name.
    inputs, outputs : dict of str to list of Net
        Ports, least significant bit first.
    instances : tuple of Instance
        Cells.
    library : Library
        Where the cells come from.
    clock : str
        Input port that clocks the flip-flops.
    output_load_ff : dict of str to list of float
        Loads that the bits of an output drive beyond the module; `DEFAULT_LOAD_FF` if not named.
    names : dict of Net to str
        Names of nets that have one in the RTL: ports, and what is left of its signals, registers
        above all.
    """

    top: str
    inputs: dict[str, list[Net]]
    outputs: dict[str, list[Net]]
    instances: tuple[Instance, ...]
    library: Library
    clock: str = "clk"
    output_load_ff: dict[str, list[float]] = field(default_factory=dict)
    names: dict[Net, str] = field(default_factory=dict, repr=False)

    @cached_property
    def area_um2(self) -> float:
        """Cell area."""
        return sum(i.cell.area_um2 for i in self.instances)

    @cached_property
    def sequential_area_um2(self) -> float:
        """Area of the flip-flops."""
        return sum(i.cell.area_um2 for i in self.instances if i.cell.sequential)

    @cached_property
    def leakage_nw(self) -> float:
        """Leakage power, mean over the cells' states."""
        return sum(i.cell.leakage_nw for i in self.instances)

    @cached_property
    def load_ff(self) -> dict[Net, float]:
        """Load of every driven net: input pins, wire model, and what the outputs drive."""
        pins: dict[Net, float] = defaultdict(float)
        fanout: dict[Net, int] = defaultdict(int)
        for instance in self.instances:
            for name, net in instance.nets.items():
                pin = instance.cell.pins[name]
                if not pin.output and isinstance(net, int):
                    pins[net] += pin.capacitance_ff
                    fanout[net] += 1
        for port, bits in self.outputs.items():
            loads = self.output_load_ff.get(port, [DEFAULT_LOAD_FF] * len(bits))
            for net, load in zip(bits, loads, strict=True):
                pins[net] += load
                fanout[net] += 1
        return {net: pins[net] + self.library.wire_ff(fanout[net]) for net in pins}

    def input_ff(self, port: str) -> list[float]:
        """Load that each bit of an input port is for its driver, wires within included."""
        return [self.load_ff.get(net, 0.0) for net in self.inputs[port]]


Document = dict[str, Any]
"""A mapped module as JSON: `top`, `ports`, `cells` with types and connections, `names` of nets."""


def trimmed(path: Path, *, top: str) -> Document:
    """Reduce what Yosys wrote with ``write_json`` to what `read` needs."""
    module = json.loads(path.read_text(encoding="utf-8"))["modules"][top]
    return {
        "top": top,
        "ports": {
            name: {"direction": port["direction"], "bits": port["bits"]}
            for name, port in module["ports"].items()
        },
        "cells": {
            name: {"type": cell["type"], "connections": cell["connections"]}
            for name, cell in sorted(module["cells"].items())
            if cell["type"] != "$scopeinfo"
        },
        "names": {str(net): name for net, name in _names(module).items()},
    }


def read(document: Document, *, library: Library) -> Netlist:
    """Read a mapped module.

    Raises
    ------
    LibertyError
        If a cell is not in the library: the library lacks a function that the design needs.
    """
    instances = []
    for name, cell in document["cells"].items():
        if cell["type"] not in library.cells:
            raise LibertyError(
                f"{library.path}: the library must have a cell for {cell['type']} of "
                f"{document['top']}; choose a library with flip-flops and the usual gates"
            )
        nets = {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
        instances.append(Instance(name=name, cell=library.cells[cell["type"]], nets=nets))
    ports = document["ports"]
    return Netlist(
        top=document["top"],
        inputs={n: p["bits"] for n, p in ports.items() if p["direction"] == "input" and p["bits"]},
        outputs={
            n: p["bits"] for n, p in ports.items() if p["direction"] == "output" and p["bits"]
        },
        instances=tuple(instances),
        library=library,
        names={int(net): name for net, name in document["names"].items()},
    )


def _names(module: dict[str, Any]) -> dict[Net, str]:
    """RTL names of nets: a port's before a signal's; those that Yosys made up are left out."""
    names: dict[Net, str] = {}
    ports = module["ports"]
    for name in sorted(module["netnames"], key=lambda name: (name not in ports, name)):
        if name in ports or not re.fullmatch(r"u\d+", name):  # see `rename -enumerate`
            for net in module["netnames"][name]["bits"]:
                if isinstance(net, int):
                    names.setdefault(net, name)
    return names
