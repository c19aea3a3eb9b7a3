"""What the modules of an array see around them: loads, and when and how fast inputs change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hw.config import ArrayConfig
from hw.pe.signature import control_layout
from synth.cells import Library
from synth.drive import SLEW_NS, wire_past_pes_ff
from synth.netlist import DEFAULT_LOAD_FF, Netlist
from synth.timing import INPUT_SLEW_NS

INPUT_ARRIVAL_NS = 0.2
"""When inputs from outside the array change after the clock edge: a register and a short wire."""

ORDER = (("control",), ("weight_edge", "act_edge"), ("pe",))
"""Modules of an array, each after those that drive it."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a module sees around it.

    Parameters
    ----------
    loads_ff : dict of str to list of float
        Load of every bit of some output ports.
    input_arrival_ns, input_slew_ns : float
        When and how fast inputs change after the clock edge.
    late_ns : dict of str to float
        Input ports that change at another time.
    """

    loads_ff: dict[str, list[float]] = field(default_factory=dict)
    input_arrival_ns: float = INPUT_ARRIVAL_NS
    input_slew_ns: float = INPUT_SLEW_NS
    late_ns: dict[str, float] = field(default_factory=dict)


Arrivals = Mapping[str, list[dict[str, float]]]
"""By module: latest arrival at every output port, of each of its netlists."""


def place(
    config: ArrayConfig,
    netlists: Mapping[str, Netlist],
    library: Library,
    timed: Callable[[dict[str, Surroundings]], Arrivals],
) -> None:
    """Give every module what it drives and what drives it, those first that drive others.

    The edges' `step`, `first`, `last` and `load` come as late as the slowest control, the PEs'
    inputs as late as the slowest edge.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    netlists : mapping of str to Netlist
        One of each module, as Yosys made it, for the loads.
    library : Library
        Standard cells.
    timed : callable
        Times all netlists of some modules in their surroundings.
    """
    loads = _loads(config, netlists, library)
    at, late = INPUT_ARRIVAL_NS, 0.0
    for modules in ORDER:
        arrivals = timed(
            {
                module: Surroundings(
                    loads_ff=loads[module],
                    input_arrival_ns=at if module == "pe" else INPUT_ARRIVAL_NS,
                    input_slew_ns=SLEW_NS if module == "pe" else INPUT_SLEW_NS,
                    late_ns=dict.fromkeys(("step", "first", "last", "load"), late),
                )
                for module in modules
            }
        )
        if "control" in modules:
            late = max(ports["step"] for ports in arrivals["control"])
        elif "pe" not in modules:
            at = max(at, *(ports["out"] for module in modules for ports in arrivals[module]))


def _loads(
    config: ArrayConfig, netlists: Mapping[str, Netlist], library: Library
) -> dict[str, dict[str, list[float]]]:
    pe, weight_edge, act_edge = (netlists[name] for name in ("pe", "weight_edge", "act_edge"))

    def past(pes: int) -> float:
        return wire_past_pes_ff(library, pes=pes, pe_area_um2=pe.area_um2)

    def shared(port: str, pes: int) -> list[float]:
        return [pes * load + past(pes) for load in pe.input_ff(port)]

    edges = config.rows + config.cols
    step = config.cols * sum(weight_edge.input_ff("step")) + past(edges)
    step += config.rows * sum(act_edge.input_ff("load"))
    return {
        "pe": {"chain_out": [DEFAULT_LOAD_FF + past(1)] * config.acc_bits},
        "weight_edge": {"out": shared("weight", config.rows)},
        "act_edge": {
            "out": shared("act", config.cols),
            "control_out": shared("control", config.cols),
        },
        "control": {
            "control": [edges * DEFAULT_LOAD_FF + past(edges)] * control_layout(config).size,
            "step": [step],
            "first": [config.cols * sum(weight_edge.input_ff("first")) + past(edges)],
            "last": [config.cols * sum(weight_edge.input_ff("last")) + past(edges)],
        },
    }
