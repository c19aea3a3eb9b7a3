"""Energy of a simulated netlist: switching, internal and clock energy from counted edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import fsum

from synth import boolean
from synth.activity import Activity
from synth.cells import Cell, Power
from synth.netlist import Instance, Netlist
from synth.timing import CLOCK_SLEW_NS, INPUT_SLEW_NS, Timing


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Mean energy of a clock cycle, leakage not included.

    Parameters
    ----------
    switching_fj : float
        Half C V squared for every edge of every net that the module drives, with what its outputs
        drive elsewhere; nets of its inputs are paid for by their drivers.
    internal_fj : float
        Inside the gates and the data side of flip-flops.
    clock_fj : float
        Clock pins and what the clock costs inside flip-flops.
    """

    switching_fj: float
    internal_fj: float
    clock_fj: float

    @property
    def total_fj(self) -> float:
        """Sum of the three."""
        return self.switching_fj + self.internal_fj + self.clock_fj


def energy(netlist: Netlist, timing: Timing, activity: Activity) -> Energy:
    """Mean energy of a cycle: the sum of `energy_by_instance`."""
    return total(energy_by_instance(netlist, timing, activity).values())


def total(energies: Iterable[Energy]) -> Energy:
    """Sum of energies, the same in whatever order."""
    listed = list(energies)
    return Energy(
        switching_fj=fsum(e.switching_fj for e in listed),
        internal_fj=fsum(e.internal_fj for e in listed),
        clock_fj=fsum(e.clock_fj for e in listed),
    )


def energy_by_instance(netlist: Netlist, timing: Timing, activity: Activity) -> dict[str, Energy]:
    """Mean energy of a cycle by instance; a net is paid for by what drives it.

    Liberty's internal energies are tables of slew and load, averaged over the related pins of an
    output (which input caused an edge is not recorded). Hidden energy of a flip-flop's data pin
    is chosen by clock phase, that of its clock pin by whether the state changes. The clock net
    counts with its pins, one rise and one fall a cycle, but with no wires of a clock tree.
    """
    volt2 = netlist.library.voltage_v**2
    cycles = activity.cycles
    (clock_net,) = netlist.inputs.get(netlist.clock, [None]) or [None]
    result = {}
    for instance in netlist.instances:
        driven = (instance.nets.get(pin.name) for pin in instance.cell.outputs)
        switching = sum(
            0.5 * netlist.load_ff.get(net, 0.0) * volt2 * activity.toggles(net)
            for net in driven
            if isinstance(net, int)
        )
        internal = _outputs_fj(netlist, timing, activity, instance)
        internal += _inputs_fj(timing, activity, instance)
        clock = _clock_fj(netlist, activity, instance) if instance.cell.sequential else 0.0
        if clock_net is not None:
            pins = (pin for pin, net in instance.nets.items() if net == clock_net)
            clock += volt2 * cycles * sum(instance.cell.pins[p].capacitance_ff for p in pins)
        result[instance.name] = Energy(
            switching_fj=switching / cycles, internal_fj=internal / cycles, clock_fj=clock / cycles
        )
    return result


def _outputs_fj(netlist: Netlist, timing: Timing, activity: Activity, instance: Instance) -> float:
    total = 0.0
    wired = [pin for pin in instance.cell.outputs if isinstance(instance.nets.get(pin.name), int)]
    for pin in instance.cell.outputs:
        net = instance.nets.get(pin.name)
        if isinstance(net, int):
            rises = sum(activity.rises.get(net, (0, 0)))
            falls = sum(activity.falls.get(net, (0, 0)))
        elif instance.cell.sequential and wired:
            # the unused complement toggles inside the cell, opposite to its twin
            twin = instance.nets[wired[0].name]
            rises = sum(activity.falls.get(twin, (0, 0)))
            falls = sum(activity.rises.get(twin, (0, 0)))
        else:
            continue
        if not (rises or falls) or not pin.powers:
            continue
        load = netlist.load_ff.get(net, 0.0) if isinstance(net, int) else 0.0
        rise = fall = 0.0
        for power in pin.powers:
            source = instance.nets.get(power.related)
            slew = (
                CLOCK_SLEW_NS
                if instance.cell.sequential
                else (
                    timing.slew_ns.get(source, INPUT_SLEW_NS)
                    if source is not None
                    else INPUT_SLEW_NS
                )
            )
            rise += power.rise_fj(slew, load)
            fall += power.fall_fj(slew, load)
        total += (rises * rise + falls * fall) / len(pin.powers)
    return total


def _inputs_fj(timing: Timing, activity: Activity, instance: Instance) -> float:
    """Hidden energy of input pins other than the clock."""
    total = 0.0
    clock = _clock_pin(instance.cell)
    for name, net in instance.nets.items():
        pin = instance.cell.pins[name]
        if pin.output or name == clock or not pin.powers or not isinstance(net, int):
            continue
        slew = timing.slew_ns.get(net, INPUT_SLEW_NS)
        for phase, powers in enumerate(_by_phase(pin.powers, clock)):
            if powers:
                rises = activity.rises.get(net, (0, 0))[phase]
                falls = activity.falls.get(net, (0, 0))[phase]
                total += rises * _mean(powers, slew, rising=True)
                total += falls * _mean(powers, slew, rising=False)
    return total


def _clock_fj(netlist: Netlist, activity: Activity, instance: Instance) -> float:
    """Energy inside a flip-flop that its clock pin causes, over all cycles."""
    cell = instance.cell
    output = next(n for p in cell.outputs if isinstance(n := instance.nets.get(p.name), int))
    changes = activity.toggles(output)
    holds, changing = _by_change(cell)
    kept = activity.cycles - changes
    return kept * (
        _mean(holds, CLOCK_SLEW_NS, rising=True) + _mean(holds, CLOCK_SLEW_NS, rising=False)
    ) + changes * (
        _mean(changing, CLOCK_SLEW_NS, rising=True) + _mean(changing, CLOCK_SLEW_NS, rising=False)
    )


def _mean(powers: Sequence[Power], slew_ns: float, *, rising: bool) -> float:
    if not powers:
        return 0.0
    tables = [p.rise_fj if rising else p.fall_fj for p in powers]
    return sum(table(slew_ns, 0.0) for table in tables) / len(tables)


def _clock_pin(cell: Cell) -> str:
    return boolean.parse(cell.clocked_on).leaf if cell.sequential else ""


def _by_phase(powers: Sequence[Power], clock: str) -> tuple[list[Power], list[Power]]:
    """Hidden powers that apply while the clock is high, and while it is low."""
    phases: list[list[Power]] = []
    for level in (True, False):
        chosen = []
        for power in powers:
            condition = _condition(power.when)
            if (
                condition is None
                or clock not in condition.pins
                or _possible(condition, {clock: level})
            ):
                chosen.append(power)
        phases.append(chosen)
    return phases[0], phases[1]


def _by_change(cell: Cell) -> tuple[list[Power], list[Power]]:
    """Hidden powers of the clock pin while the state is kept, and while it changes."""
    following = boolean.parse(cell.next_state)
    names = {pin.function: pin.name for pin in cell.outputs}
    kept: list[Power] = []
    changing: list[Power] = []
    for power in cell.pins[_clock_pin(cell)].powers:
        condition = _condition(power.when)
        pins = sorted(following.pins | (condition.pins if condition else frozenset()))
        for values in product((False, True), repeat=len(pins)):
            assignment = dict(zip(pins, values, strict=True))
            if condition is not None and not condition.value(assignment):
                continue
            state = assignment.get(names.get(cell.state, ""))
            if state is None or following.value(assignment) == state:
                kept.append(power)
            if state is None or following.value(assignment) != state:
                changing.append(power)
    return kept, changing


@cache
def _condition(when: str) -> boolean.Expression | None:
    return boolean.parse(when) if when else None


def _possible(condition: boolean.Expression, fixed: dict[str, bool]) -> bool:
    free = sorted(condition.pins - fixed.keys())
    return any(
        condition.value(fixed | dict(zip(free, values, strict=True)))
        for values in product((False, True), repeat=len(free))
    )
