"""Output buffers for wires that span the array.

Yosys maps a module without knowing what its outputs drive. Lines that run past a row or column of
PEs get the smallest buffer of the library that keeps their transition time within `SLEW_NS`.
"""

from __future__ import annotations

from dataclasses import replace

from synth import boolean
from synth.cells import Cell, Library
from synth.netlist import Instance, Net, Netlist

SLEW_NS = 0.1
PLACEMENT_DENSITY = 0.7
"""Cell area over floor area, to turn the area of a PE into the length of a wire past it (ours)."""


def wire_past_pes_ff(library: Library, *, pes: int, pe_area_um2: float) -> float:
    """Capacitance of a wire that runs past `pes` PEs, square ones, by the library's um of wire."""
    side_um = float((pe_area_um2 / PLACEMENT_DENSITY) ** 0.5)
    return pes * side_um * library.wire_ff_per_length


def with_drivers(netlist: Netlist, loads_ff: dict[str, list[float]]) -> Netlist:
    """Load output ports and give their bits buffers where a plain flip-flop would be too slow.

    Parameters
    ----------
    netlist : Netlist
        As Yosys made it.
    loads_ff : dict of str to list of float
        Load of each bit of a port.

    Returns
    -------
    Netlist
        With `output_load_ff` set; a bit keeps its net where no buffer is needed.
    """
    following = 1 + max(
        (net for i in netlist.instances for net in i.nets.values() if isinstance(net, int)),
        default=0,
    )
    instances = list(netlist.instances)
    outputs = dict(netlist.outputs)
    for port, loads in loads_ff.items():
        bits: list[Net] = []
        for index, (net, load) in enumerate(zip(netlist.outputs[port], loads, strict=True)):
            buffer = _buffer(netlist.library, load)
            if not isinstance(net, int) or buffer is None:
                bits.append(net)
                continue
            source = next(pin.name for pin in buffer.pins.values() if not pin.output)
            nets: dict[str, Net] = {source: net, buffer.outputs[0].name: following}
            instances.append(Instance(name=f"drive_{port}_{index}", cell=buffer, nets=nets))
            bits.append(following)
            following += 1
        outputs[port] = bits
    return replace(
        netlist, instances=tuple(instances), outputs=outputs, output_load_ff=dict(loads_ff)
    )


def _buffer(library: Library, load_ff: float) -> Cell | None:
    """Return the smallest buffer that is fast enough; None where the smallest gate is already."""
    buffers = sorted(
        (
            cell
            for cell in library.cells.values()
            if len(cell.pins) == 2
            and len(cell.outputs) == 1
            and cell.outputs[0].arcs
            and boolean.parse(cell.outputs[0].function or "0").leaf in cell.pins
        ),
        key=lambda cell: cell.area_um2,
    )
    if not buffers or _slew(buffers[0], load_ff) <= SLEW_NS / 2:
        return None
    return next((cell for cell in buffers if _slew(cell, load_ff) <= SLEW_NS), buffers[-1])


def _slew(cell: Cell, load_ff: float) -> float:
    arc = cell.outputs[0].arcs[0]
    return max(table(SLEW_NS / 2, load_ff) for table in (arc.rise_slew_ns, arc.fall_slew_ns))
