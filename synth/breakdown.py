"""Area and energy of a module by part: lanes, tree, shifter, accumulator, registers and so on.

The flow flattens a module and abc renames what it optimises, so parts are told by logic cones.
Flip-flops keep the names of their RTL registers, which say what they are. A gate belongs to the
part that what it depends on, and what it leads to, say:

- in a PE, a gate that depends on the operands of one lane alone is that lane's, one that depends on
  several lanes or on registered sums is the tree's; where the one-hot shift comes in it is the
  shifter's (full adders stay the tree's), behind that the accumulator's; what leads to the output
  register alone belongs to the results;
- at the edges, what leads to the operand registers is the recoder's until the register's enable or
  its own value comes in, which make the multiplexer that holds it; what leads to the correction of
  the results is the excess's, to the copy of the control the control's.

Chosen rather than a second run with the hierarchy kept: that would be another netlist, larger and
hotter than the one that the costs are of. The limits: a gate that abc made of the logic of two
parts counts in the later one; the final adder of several shifted digit planes, where it is no
full-adder cell, counts in the shifter; a multiplier is its lane's with its own compressor tree; an
INT8 MAC's tree is that of its one lane. The energy of a net is its driver's. `CLOCK` has the energy
of the clock pins and what the clock costs inside all flip-flops; their area is in their own parts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from math import fsum
from operator import or_

from hw.config import ArrayConfig, PEKind
from hw.pe.signature import control_layout
from synth.activity import Activity
from synth.energy import energy_by_instance
from synth.netlist import Instance, Net, Netlist
from synth.timing import Timing, in_order


class Part(Enum):
    """Part of a module; the value is its name in reports."""

    LANES = "lanes"
    TREE = "tree"
    SHIFTER = "shifter"
    ACCUMULATOR = "accumulator"
    RESULTS = "results"
    """Output register of a PE and the way into it."""
    REGISTERS = "registers"
    """Operands at the edges, pipeline registers of a PE."""
    RECODER = "recoder"
    EXCESS = "excess"
    """Sum of what products are too large by, and its subtraction from the results."""
    CONTROL = "control"
    DRIVERS = "line drivers"
    CLOCK = "clock"


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """Cell area and mean energy of a cycle of a part, leakage not included."""

    area_um2: float
    energy_fj: float


# what a net depends on, beside the lanes, which are the bits from `_LANE` on
_SHIFT, _SUMS, _BEHIND, _HOLDS = 1, 2, 4, 8
_LANE = 4


def by_part(
    netlist: Netlist, config: ArrayConfig, *, timing: Timing, activity: Activity
) -> dict[Part, PartCost]:
    """Break down the area and the energy of a module; the parts sum up to the whole.

    Parameters
    ----------
    netlist : Netlist
        One of the modules of `synth.characterise.designs`, told by `Netlist.top`.
    config : ArrayConfig
        The array that it is a module of.
    timing, activity : Timing, Activity
        Of this netlist, as `synth.energy.energy` takes them.

    Returns
    -------
    dict of Part to PartCost
        Parts that have cells or cost energy.
    """
    spent, parts = energy_by_instance(netlist, timing, activity), parts_of(netlist, config)
    area: dict[Part, list[float]] = defaultdict(list)
    energy_fj: dict[Part, list[float]] = defaultdict(list)
    for instance in netlist.instances:
        part, cost = parts[instance.name], spent[instance.name]
        area[part].append(instance.cell.area_um2)
        energy_fj[part] += [cost.switching_fj, cost.internal_fj]
        energy_fj[Part.CLOCK].append(cost.clock_fj)
    return {
        part: PartCost(area_um2=fsum(area[part]), energy_fj=fsum(energy_fj[part]))
        for part in Part
        if area[part] or any(energy_fj[part])
    }


def parts_of(netlist: Netlist, config: ArrayConfig) -> dict[str, Part]:
    """Part of every instance, in the netlist's order.

    Raises
    ------
    ValueError
        If the netlist is none of the modules of an array.
    """
    if netlist.top not in ("pe", "weight_edge", "act_edge", "control"):
        raise ValueError(f"netlist must be a module of an array, not {netlist.top}")
    if netlist.top == "control":
        found = dict.fromkeys((i.name for i in netlist.instances), Part.CONTROL)
    else:
        found = _cones(netlist, config)
    for instance in netlist.instances:
        if instance.name.startswith("drive_"):  # see synth.drive
            found[instance.name] = Part.DRIVERS
    return {instance.name: found[instance.name] for instance in netlist.instances}


def _cones(netlist: Netlist, config: ArrayConfig) -> dict[str, Part]:
    """Parts of a PE or an edge by what their instances depend on and lead to."""
    order = in_order(netlist)
    gates = [instance for instance in order if not instance.cell.sequential]
    found = {i.name: _flop(netlist, i, config) for i in order if i.cell.sequential}
    depends: dict[Net, int] = defaultdict(int)
    leads: dict[Net, set[Part]] = defaultdict(set)
    for port, bits in netlist.inputs.items():
        for index, net in enumerate(bits):
            depends[net] |= _given(netlist.top, port, index, len(bits), config)
    for port in ("psum", "left"):
        for net in netlist.outputs.get(port, []):
            leads[net].add(Part.EXCESS if port == "psum" else Part.RECODER)
    for instance in order:
        outputs, inputs = _sides(instance)
        if instance.cell.sequential:
            mask = _held(netlist.top, _register(netlist, instance))
            for net in inputs:
                leads[net].add(found[instance.name])
        else:
            mask = _any(depends[net] for net in inputs)
        for net in outputs:
            depends[net] = mask
    for instance in reversed(gates):
        outputs, inputs = _sides(instance)
        to = set().union(*(leads[net] for net in outputs))
        mask = _any(depends[net] for net in inputs)
        place = _in_pe if netlist.top == "pe" else _at_edge
        found[instance.name] = place(instance, mask, to)
        for net in inputs:
            leads[net] |= to
    return found


def _any(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)


def _sides(instance: Instance) -> tuple[list[Net], list[Net]]:
    """Nets on the outputs and on the inputs of an instance, constants left out."""
    sides: tuple[list[Net], list[Net]] = [], []
    for pin, net in instance.nets.items():
        if isinstance(net, int):
            sides[not instance.cell.pins[pin].output].append(net)
    return sides


def _register(netlist: Netlist, flop: Instance) -> str:
    """RTL name of the register that a flip-flop is a bit of; empty if it is lost."""
    outputs, _ = _sides(flop)
    return next((netlist.names[net] for net in outputs if net in netlist.names), "")


def _flop(netlist: Netlist, flop: Instance, config: ArrayConfig) -> Part:
    name = _register(netlist, flop)
    if netlist.top == "pe":
        if name == "chain_out" and config.double_buffered:
            return Part.RESULTS
        return Part.ACCUMULATOR if name in ("acc", "chain_out") else Part.REGISTERS
    if name == "out":
        return Part.REGISTERS
    if name.startswith("recoder."):
        return Part.RECODER
    return Part.CONTROL if name.startswith("control") else Part.EXCESS


def _given(top: str, port: str, index: int, width: int, config: ArrayConfig) -> int:
    """Say what a bit of an input port means to the gates that depend on it."""
    if top != "pe":
        return _HOLDS if port in ("step", "load") else 0
    if port == "chain_in":
        return _BEHIND
    if port == "control":
        for name, field in control_layout(config):
            if field.offset <= index < field.offset + field.width:
                return {"shift": _SHIFT, "top": _SUMS}.get(str(name), _BEHIND)
    if port == "weight" and config.pe is PEKind.SHIFT_ADD:
        return _SHIFT
    return 1 << _LANE + index * config.lanes // width if port in ("act", "weight") else 0


def _held(top: str, register: str) -> int:
    """Say what a register means to the gates that depend on it."""
    if top != "pe":
        return _HOLDS if register == "out" else 0
    if re.search(r"_group_\d+_\d+$|^lane_\d+_\d+$", register):
        return _SUMS
    return _SHIFT if "$" in register else _BEHIND  # $: the shift-add MAC's activation


def _in_pe(instance: Instance, mask: int, to: set[Part]) -> Part:
    adder = len(instance.cell.outputs) == 2
    if to == {Part.RESULTS}:
        return Part.RESULTS
    if mask & _BEHIND:
        return Part.ACCUMULATOR
    if mask & _SHIFT and not adder:
        return Part.SHIFTER
    return Part.TREE if mask & (_SHIFT | _SUMS) or (mask >> _LANE).bit_count() > 1 else Part.LANES


def _at_edge(instance: Instance, mask: int, to: set[Part]) -> Part:
    if to & {Part.REGISTERS, Part.RECODER}:
        return Part.REGISTERS if mask & _HOLDS else Part.RECODER
    return Part.CONTROL if to == {Part.CONTROL} else Part.EXCESS
