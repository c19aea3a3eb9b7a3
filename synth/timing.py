"""Static timing of a mapped netlist: arrival times, slews, minimum period, critical path.

Late arrivals with separate rise and fall, the slowest transition of all paths to a net, Liberty
tables, wire-load model without its resistance, ideal clock, setup. `synth.sta` checks it against
OpenSTA.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from synth.cells import Arc
from synth.netlist import Instance, Net, Netlist

CLOCK_SLEW_NS = 0.02
INPUT_SLEW_NS = 0.02


@dataclass(frozen=True, kw_only=True)
class Event:
    """Latest edge on a net, with the slowest transition of all edges of its kind there.

    Parameters
    ----------
    arrival_ns : float
        After the clock edge.
    slew_ns : float
        Transition time.
    instance : str
        What drives it: a cell with its kind, or an input bit.
    source : tuple of Net and bool, or None
        Net and edge (True rising) that caused it.
    """

    arrival_ns: float
    slew_ns: float
    instance: str
    source: tuple[Net, bool] | None = None


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Result of static timing.

    Parameters
    ----------
    min_period_ns : float
        Latest arrival at a flip-flop or output, setup included.
    port_arrival_ns : dict of str to float
        Latest arrival at each output port.
    critical_path : list of str
        Instances and arrivals along the slowest path.
    start, end : str
        Where the slowest path starts and ends: a flip-flop's instance, or a port's bit as
        ``port.index``; empty if there is none.
    input_arrival_ns : dict of str to float
        When each input port was taken to change.
    input_slew_ns : float
        Transition time that the inputs were taken to have.
    slew_ns : dict of Net to float
        Mean of rising and falling transition time.
    delay_ps : dict of (str, str) to (int, int)
        Instance and output pin to rise and fall delay, mean over the pin's arcs: what the
        gate-level simulation is annotated with.
    """

    min_period_ns: float
    port_arrival_ns: dict[str, float]
    critical_path: list[str]
    start: str
    end: str
    input_arrival_ns: dict[str, float]
    input_slew_ns: float
    slew_ns: dict[Net, float]
    delay_ps: dict[tuple[str, str], tuple[int, int]]


def analyse(
    netlist: Netlist,
    *,
    input_arrival_ns: float = 0.0,
    input_slew_ns: float = INPUT_SLEW_NS,
    late_ns: Mapping[str, float] | None = None,
) -> Timing:
    """Run static timing.

    Parameters
    ----------
    netlist : Netlist
        Flat, mapped, with flip-flops on one clock.
    input_arrival_ns : float
        When inputs change after the clock edge.
    input_slew_ns : float
        Transition time of the inputs.
    late_ns : mapping of str to float, optional
        Input ports that change at another time.

    Returns
    -------
    Timing

    Raises
    ------
    ValueError
        If the combinational logic has a loop.
    """
    events: dict[tuple[Net, bool], Event] = {}
    given = {
        port: (late_ns or {}).get(port, input_arrival_ns)
        for port in netlist.inputs
        if port != netlist.clock
    }
    for port, arrival in given.items():
        for index, net in enumerate(netlist.inputs[port]):
            start = Event(
                arrival_ns=arrival, slew_ns=input_slew_ns, instance=f"input {port}.{index}"
            )
            events[net, True] = events[net, False] = start
    delays: dict[tuple[str, str], tuple[int, int]] = {}
    for instance in in_order(netlist):
        _propagate(netlist, instance, events, delays)
    period, critical, end = _ends(netlist, events)
    steps = _steps(events, critical)
    arrivals = {
        port: max(
            (
                events[net, edge].arrival_ns
                for net in bits
                for edge in (True, False)
                if (net, edge) in events
            ),
            default=0.0,
        )
        for port, bits in netlist.outputs.items()
    }
    nets = {net for net, _ in events}
    return Timing(
        min_period_ns=period,
        port_arrival_ns=arrivals,
        critical_path=[
            f"{event.arrival_ns:.3f} ns  {'rise' if rising else 'fall'}  {event.instance}"
            for event, rising in steps
        ],
        start=steps[0][0].instance.removeprefix("input ").split(" ")[0] if steps else "",
        end=end,
        input_arrival_ns=given,
        input_slew_ns=input_slew_ns,
        slew_ns={net: (events[net, True].slew_ns + events[net, False].slew_ns) / 2 for net in nets},
        delay_ps=delays,
    )


def in_order(netlist: Netlist) -> list[Instance]:
    """Flip-flops first, then every gate after the gates that drive it."""
    driver: dict[Net, int] = {}
    gates = [i for i in netlist.instances if not i.cell.sequential]
    for index, gate in enumerate(gates):
        for pin in gate.cell.outputs:
            if pin.name in gate.nets:
                driver[gate.nets[pin.name]] = index
    waiting = [0] * len(gates)
    users: dict[int, list[int]] = defaultdict(list)
    for index, gate in enumerate(gates):
        sources = {
            driver[net]
            for name, net in gate.nets.items()
            if not gate.cell.pins[name].output and net in driver
        }
        waiting[index] = len(sources)
        for source in sources:
            users[source].append(index)
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order = [i for i in netlist.instances if i.cell.sequential]
    for index in ready:  # grows while it is walked
        order.append(gates[index])
        for user in users[index]:
            waiting[user] -= 1
            if waiting[user] == 0:
                ready.append(user)
    if len(order) != len(netlist.instances):
        raise ValueError(f"{netlist.top} must have no combinational loop")
    return order


def _propagate(
    netlist: Netlist,
    instance: Instance,
    events: dict[tuple[Net, bool], Event],
    delays: dict[tuple[str, str], tuple[int, int]],
) -> None:
    for pin in instance.cell.outputs:
        net = instance.nets.get(pin.name)
        if not isinstance(net, int):
            continue
        load = netlist.load_ff.get(net, 0.0)
        totals: dict[bool, list[float]] = {True: [], False: []}
        for rising in (True, False):
            for arc in pin.arcs:
                for cause in _causes(instance, arc, rising, events):
                    slew, arrival, source = cause
                    table = arc.rise_ns if rising else arc.fall_ns
                    out = arc.rise_slew_ns if rising else arc.fall_slew_ns
                    delay = table(slew, load)
                    totals[rising].append(delay)
                    event = Event(
                        arrival_ns=arrival + delay,
                        slew_ns=out(slew, load),
                        instance=f"{instance.name} ({instance.cell.name})",
                        source=source,
                    )
                    known = events.get((net, rising))
                    events[net, rising] = event if known is None else _worse(known, event)
        rise, fall = (
            max(1, round(1000 * sum(totals[edge]) / len(totals[edge]))) if totals[edge] else 1
            for edge in (True, False)
        )
        delays[instance.name, pin.name] = rise, fall


def _worse(first: Event, second: Event) -> Event:
    """Return the later event, with the slower transition of both: a safe bound for all paths."""
    later = second if second.arrival_ns > first.arrival_ns else first
    slew_ns = max(first.slew_ns, second.slew_ns)
    return later if later.slew_ns == slew_ns else replace(later, slew_ns=slew_ns)


def _causes(
    instance: Instance, arc: Arc, rising: bool, events: dict[tuple[Net, bool], Event]
) -> list[tuple[float, float, tuple[Net, bool] | None]]:
    """Slew, arrival and origin of the input edges that can cause an output edge."""
    if arc.clocked:
        return [(CLOCK_SLEW_NS, 0.0, None)]
    source = instance.nets.get(arc.source)
    if source is None:
        return []
    edges = ([rising] if arc.non_inverting else []) + ([not rising] if arc.inverting else [])
    return [
        (events[source, edge].slew_ns, events[source, edge].arrival_ns, (source, edge))
        for edge in edges
        if (source, edge) in events
    ]


def _ends(
    netlist: Netlist, events: dict[tuple[Net, bool], Event]
) -> tuple[float, tuple[Net, bool] | None, str]:
    """Least period, the edge that asks for it, and where that arrives."""
    worst, where, end = 0.0, None, ""
    for instance in netlist.instances:
        if not instance.cell.sequential:
            continue
        for name, net in instance.nets.items():
            pin = instance.cell.pins[name]
            if pin.output or pin.clock:
                continue
            for edge, setups in ((True, pin.setup_rise_ns), (False, pin.setup_fall_ns)):
                if (net, edge) not in events or not setups:
                    continue
                event = events[net, edge]
                need = event.arrival_ns + max(t(event.slew_ns, CLOCK_SLEW_NS) for t in setups)
                if need > worst:
                    worst, where, end = need, (net, edge), instance.name
    for port, bits in netlist.outputs.items():
        for index, net in enumerate(bits):
            for edge in (True, False):
                if (net, edge) in events and events[net, edge].arrival_ns > worst:
                    worst, where = events[net, edge].arrival_ns, (net, edge)
                    end = f"{port}.{index}"
    return worst, where, end


def _steps(
    events: dict[tuple[Net, bool], Event], end: tuple[Net, bool] | None
) -> list[tuple[Event, bool]]:
    """Events of a path with their edges, True rising, from its start."""
    steps = []
    while end is not None and end in events:
        steps.append((events[end], end[1]))
        end = events[end].source
    return steps[::-1]
