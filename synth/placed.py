"""The modules of an array as they stand in it, each with the loads and arrivals it has there."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from hw.config import ArrayConfig
from synth import timing
from synth.cells import Library
from synth.mapped import map_array
from synth.netlist import Net, Netlist
from synth.surroundings import INPUT_ARRIVAL_NS
from synth.timing import INPUT_SLEW_NS, Timing


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A netlist with its timing, and when its inputs change."""

    netlist: Netlist
    timing: Timing
    input_arrival_ns: float


Port = tuple[str, str]
"""Module and port."""


def sinks(config: ArrayConfig, module: str, port: str) -> list[tuple[Port, int]]:
    """Find what an output of a module drives in an array.

    Parameters
    ----------
    module : str
        A name of `synth.probe.all_watched`.

    Returns
    -------
    list of (Port, int)
        Modules and ports, each with the first of its bits that is driven; empty for what leaves
        the array.
    """
    rows, cols = range(config.rows), range(config.cols)
    kind = kind_of(module)
    at = [int(number) for number in module.removeprefix(kind).split("_") if number]
    if (kind, port) == ("pe", "chain_out"):
        row, col = at
        if row % config.drain_cycles:
            return [((f"pe_{row - 1}_{col}", "chain_in"), 0)]
        return [((f"weight_edge_{col}", "chain"), row // config.drain_cycles * config.acc_bits)]
    if (kind, port) == ("weight_edge", "out"):
        return [((f"pe_{row}_{at[0]}", "weight"), 0) for row in rows]
    if (kind, port) in (("act_edge", "out"), ("act_edge", "control_out")):
        target = "act" if port == "out" else "control"
        return [((f"pe_{at[0]}_{col}", target), 0) for col in cols]
    edges = [f"weight_edge_{col}" for col in cols]
    if kind == "control" and port == "control":
        edges += [f"act_edge_{row}" for row in rows]
    if kind == "control" and port in ("control", "step", "first", "last"):
        found = [((edge, port), 0) for edge in edges]
        if port == "step":
            found += [((f"act_edge_{row}", "load"), 0) for row in rows]
        return found
    return []


def module_names(config: ArrayConfig) -> list[str]:
    """Modules of an array as `synth.probe.all_watched` names them, after what drives them."""
    rows, cols = range(config.rows), range(config.cols)
    names = ["control", *(f"weight_edge_{col}" for col in cols)]
    names += [f"act_edge_{row}" for row in rows]
    return names + [f"pe_{row}_{col}" for row in rows for col in cols]


def kind_of(module: str) -> str:
    """Netlist of a module: ``pe`` of ``pe_0_1``."""
    return module.rstrip("_0123456789")


def _pins(netlist: Netlist, port: str) -> list[tuple[float, int]]:
    """Capacitance of the pins, fF, and their number, of every bit of an input."""
    nets = netlist.inputs.get(port, [])
    load: dict[Net, float] = defaultdict(float)
    count: Counter[Net] = Counter()
    wanted = set(nets)
    for instance in netlist.instances:
        for name, net in instance.nets.items():
            if net in wanted:
                load[net] += instance.cell.pins[name].capacitance_ff
                count[net] += 1
    return [(load[net], count[net]) for net in nets]


def loaded(
    config: ArrayConfig, module: str, netlists: dict[str, Netlist], pins: dict[Port, Any]
) -> Netlist:
    """Netlist of a module, each output bit with the pins and the wire of its net in the array."""
    netlist = netlists[kind_of(module)]
    own = Counter(
        net
        for instance in netlist.instances
        for name, net in instance.nets.items()
        if not instance.cell.pins[name].output
    )
    wire = netlist.library.wire_ff
    loads: dict[str, list[float]] = {}
    for port, bits in netlist.outputs.items():
        driven = sinks(config, module, port)
        if not driven:
            continue
        capacitance, fanout = [0.0] * len(bits), [0] * len(bits)
        for (sink, into), first in driven:
            for index, (load, count) in enumerate(
                pins.get((kind_of(sink), into), [])[first : first + len(bits)]
            ):
                capacitance[index] += load
                fanout[index] += count
        # a netlist counts an output as one pin; the array's net has all of them
        loads[port] = [
            capacitance[i] + wire(own[net] + fanout[i]) - wire(own[net] + 1)
            for i, net in enumerate(bits)
        ]
    return replace(netlist, output_load_ff=loads)


def place(config: ArrayConfig, library: Library) -> dict[str, Placed]:
    """Every module of an array, loaded and timed as it stands in the array.

    Raises
    ------
    YosysError, LibertyError
        If mapping fails.
    """
    netlists = map_array(config, library)
    pins = {
        (kind, port): _pins(netlist, port)
        for kind, netlist in netlists.items()
        for port in netlist.inputs
    }
    placed: dict[str, Placed] = {}
    late, at, slew = 0.0, INPUT_ARRIVAL_NS, INPUT_SLEW_NS
    for name in module_names(config):
        netlist = loaded(config, name, netlists, pins)
        pe = kind_of(name) == "pe"
        result = timing.analyse(
            netlist,
            input_arrival_ns=at if pe else INPUT_ARRIVAL_NS,
            input_slew_ns=slew if pe else INPUT_SLEW_NS,
            late_ns=dict.fromkeys(("step", "first", "last", "load"), late),
        )
        arrival = at if pe else INPUT_ARRIVAL_NS
        placed[name] = Placed(netlist=netlist, timing=result, input_arrival_ns=arrival)
        if name == "control":
            late = result.port_arrival_ns["step"]
        elif not pe:
            at = max(at, result.port_arrival_ns["out"])
            slews = [result.slew_ns[net] for net in netlist.outputs["out"] if isinstance(net, int)]
            slew = max(slew, sum(slews) / len(slews))
    return placed
