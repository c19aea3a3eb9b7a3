"""Toggles of every net in a delay-annotated gate-level simulation (Icarus Verilog).

Cell functions come from the Liberty file and delays from static timing, so glitches count.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synth import boolean
from synth.netlist import Net, Netlist
from synth.timing import Timing


class SimulationError(Exception):
    """The simulator is missing or failed."""


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Edges per net, split by clock phase.

    Parameters
    ----------
    cycles : int
        Clock cycles counted.
    rises, falls : dict of Net to (int, int)
        Edges while the clock is high, and while it is low.
    """

    cycles: int
    rises: dict[Net, tuple[int, int]]
    falls: dict[Net, tuple[int, int]]

    def toggles(self, net: Net) -> int:
        """Edges of a net."""
        return sum(self.rises.get(net, (0, 0))) + sum(self.falls.get(net, (0, 0)))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A simulation.

    Parameters
    ----------
    windows : list of Activity
        Edges between each bound and the next.
    outputs : dict of str to list of int [cycles]
        Output port values sampled at the end of every cycle.
    """

    windows: list[Activity]
    outputs: dict[str, list[int]]


def simulate(
    netlist: Netlist,
    timing: Timing,
    stimuli: Mapping[str, Sequence[int] | NDArray[np.int64]],
    *,
    period_ns: float,
    input_arrival_ns: float,
    bounds: Sequence[int],
    folder: Path,
    cycles: int | None = None,
) -> Run:
    """Simulate a netlist and count edges.

    Parameters
    ----------
    netlist, timing : Netlist, Timing
        The design and its delays.
    stimuli : dict of str to sequence of int [cycles]
        Value of every input port but the clock, cycle by cycle.
    period_ns : float
        Clock period.
    input_arrival_ns : float
        When inputs change after the clock edge.
    bounds : sequence of int
        Cycles at which a window of counting ends and the next one begins; the last one ends with
        the stimuli. What is before the first bound is not counted.
    folder : Path
        Where the simulator's files go.
    cycles : int, optional
        Length, for a netlist without inputs; else that of the stimuli.

    Raises
    ------
    SimulationError
        If Icarus Verilog is missing or fails.
    """
    if not 0 < input_arrival_ns < period_ns / 2:
        raise SimulationError(
            f"inputs of {netlist.top} must change in the first half of the {period_ns} ns period, "
            f"not after {input_arrival_ns:.3f} ns; raise --clock-ns"
        )
    folder.mkdir(parents=True, exist_ok=True)
    cycles = _write_stimuli(netlist, stimuli, folder / "stimuli.hex", cycles)
    source = _verilog(netlist, timing) + _bench(
        netlist,
        cycles=cycles,
        period_ps=round(period_ns * 1000),
        arrival_ps=max(1, round(input_arrival_ns * 1000)),
    )
    (folder / "gates.v").write_text(source, encoding="utf-8")
    run_icarus(folder, "gates")
    windows = _count(folder / "gates.vcd", [*bounds, cycles])
    outputs = _read_outputs(netlist, folder / "outputs.txt")
    (folder / "gates.vcd").unlink()
    return Run(windows=windows, outputs=outputs)


def run_icarus(folder: Path, name: str) -> None:
    """Compile and run ``<name>.v`` in a folder.

    Raises
    ------
    SimulationError
        If Icarus Verilog is missing or fails; one line.
    """
    for command in (
        ["iverilog", "-g2012", "-o", f"{name}.vvp", f"{name}.v"],
        ["vvp", "-N", f"{name}.vvp"],
    ):
        if shutil.which(command[0]) is None:
            raise SimulationError(
                f"{command[0]} must be on PATH; install Icarus Verilog, "
                "e.g. `apt-get install iverilog`"
            )
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            first = (done.stderr or done.stdout).strip().splitlines()[:1]
            raise SimulationError(f"{command[0]} failed on {name}.v: {' '.join(first)}")


def _name(net: Net) -> str:
    return f"n{net}" if isinstance(net, int) else f"1'b{net if net in '01' else '0'}"


def _input_ports(netlist: Netlist) -> list[tuple[str, list[Net]]]:
    """Input ports that drive anything, the clock excepted."""
    return [
        (port, bits)
        for port, bits in netlist.inputs.items()
        if port != netlist.clock and any(net in netlist.load_ff for net in bits)
    ]


def _write_stimuli(
    netlist: Netlist,
    stimuli: Mapping[str, Sequence[int] | NDArray[np.int64]],
    path: Path,
    given: int | None,
) -> int:
    ports = _input_ports(netlist)
    missing = [port for port, _ in ports if port not in stimuli]
    if missing:
        raise ValueError(f"stimuli must drive every input; {', '.join(missing)} missing")
    lengths = {len(stimuli[port]) for port, _ in ports} | ({given} if given else set())
    if len(lengths) != 1:
        raise ValueError(f"stimuli must all have one length, not {sorted(lengths)}")
    (cycles,) = lengths
    with path.open("w", encoding="ascii") as file:
        for cycle in range(cycles):
            word, shift = 0, 0
            for port, bits in ports:
                word |= (int(stimuli[port][cycle]) & ((1 << len(bits)) - 1)) << shift
                shift += len(bits)
            file.write(f"{word:x}\n")
    return cycles


def _verilog(netlist: Netlist, timing: Timing) -> str:
    """Netlist as delayed assignments and flip-flops over nets ``n<number>``."""
    width = sum(len(bits) for _, bits in _input_ports(netlist))
    lines = [
        "`timescale 1ps/1ps",
        f"module gates(input clk, input [{max(width - 1, 0)}:0] in);",
    ]
    position = 0
    for _, bits in _input_ports(netlist):
        for net in bits:
            lines.append(f"wire {_name(net)} = in[{position}];")
            position += 1
    for instance in netlist.instances:
        cell = instance.cell
        nets = {pin: _name(net) for pin, net in instance.nets.items()}
        wired = [pin for pin in cell.outputs if isinstance(instance.nets.get(pin.name), int)]
        if cell.sequential:
            if boolean.parse(cell.clocked_on).leaf not in instance.nets:
                raise SimulationError(f"{cell.name} must clock on a rising edge of a pin")
            state = f"q{id(instance)}"
            following = boolean.parse(cell.next_state).verilog(nets)
            lines.append(f"reg {state} = 0; always @(posedge clk) {state} <= {following};")
            nets |= {cell.state: state, _inverse_state(cell.state): f"(~{state})"}
        for pin in wired:
            rise, fall = timing.delay_ps[instance.name, pin.name]
            value = boolean.parse(pin.function).verilog(nets)
            lines.append(
                f"wire {nets[pin.name]}; assign #({rise},{fall}) {nets[pin.name]} = {value};"
            )
    lines.append("endmodule")
    return "\n".join(_declared_first(lines)) + "\n"


def _inverse_state(state: str) -> str:
    return f"{state}N"


def _declared_first(lines: list[str]) -> list[str]:
    """Move wire declarations before their uses, which Icarus wants."""
    head, body = lines[:2], []
    for line in lines[2:-1]:
        declaration, split, rest = line.partition("; assign ")
        if split:
            head.append(declaration + ";")
            body.append("assign " + rest)
        elif line.startswith("wire"):
            head.append(line)
        else:
            body.append(line)
    return [*head, *body, lines[-1]]


def _bench(netlist: Netlist, *, cycles: int, period_ps: int, arrival_ps: int) -> str:
    width = sum(len(bits) for _, bits in _input_ports(netlist))
    outputs = [net for bits in netlist.outputs.values() for net in bits]
    sampled = ", ".join(
        f"dut.{_name(net)}" if isinstance(net, int) else _name(net) for net in outputs[::-1]
    )
    half = period_ps // 2
    return f"""
module bench;
reg clk = 0;
reg [{max(width - 1, 0)}:0] in = 0;
reg [{max(width - 1, 0)}:0] stimuli [0:{cycles - 1}];
integer cycle, file;
gates dut(.clk(clk), .in(in));
initial begin
  $readmemh("stimuli.hex", stimuli);
  file = $fopen("outputs.txt", "w");
  $dumpfile("gates.vcd");
  $dumpvars(1, dut);
  #{period_ps};
  for (cycle = 0; cycle < {cycles}; cycle = cycle + 1) begin
    clk = 1; #{arrival_ps} in = stimuli[cycle]; #{half - arrival_ps} clk = 0;
    #{period_ps - half - 1} $fdisplay(file, "%h", {{{sampled}}}); #1;
  end
  $finish;
end
endmodule
"""


def _count(path: Path, bounds: Sequence[int]) -> list[Activity]:
    """Count the value changes of a VCD file by net and clock phase, in windows of cycles.

    The body is cut at the clock's edges and counted line by line, in C, without a parser.
    """
    header, _, body = path.read_bytes().partition(b"$enddefinitions $end\n")
    names: dict[bytes, Net] = {}
    clock = b""
    for line in header.splitlines():
        parts = line.split()
        if parts[:1] == [b"$var"] and parts[2] == b"1":
            name = parts[4].decode()
            if name == "clk":
                clock = parts[3]
            elif name.startswith("n"):
                names[parts[3]] = int(name[1:])
    # the first piece is what stands before the first rising edge
    cycles = body.split(b"\n1" + clock + b"\n")[1:]
    windows = []
    for first, last in pairwise(bounds):
        high: Counter[bytes] = Counter()
        low: Counter[bytes] = Counter()
        for cycle in cycles[first:last]:
            before, _, after = cycle.partition(b"\n0" + clock + b"\n")
            high.update(before.split(b"\n"))
            low.update(after.split(b"\n"))
        windows.append(
            Activity(
                cycles=last - first,
                rises={net: (high[b"1" + i], low[b"1" + i]) for i, net in names.items()},
                falls={net: (high[b"0" + i], low[b"0" + i]) for i, net in names.items()},
            )
        )
    return windows


def _read_outputs(netlist: Netlist, path: Path) -> dict[str, list[int]]:
    values: dict[str, list[int]] = {port: [] for port in netlist.outputs}
    for line in path.read_text(encoding="ascii").splitlines():
        # unknown values appear only before the first data arrive; they read as 0
        word, shift = int(line.translate(str.maketrans("xXzZ", "0000")), 16), 0
        for port, bits in netlist.outputs.items():
            values[port].append(word >> shift & ((1 << len(bits)) - 1))
            shift += len(bits)
    return values
