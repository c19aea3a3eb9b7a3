"""All mutants in one Icarus run, each on the vectors until an output is wrong."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from sim.mutate.mutants import SELECT, Mutated
from sim.mutate.vectors import Vectors


class BenchError(Exception):
    """The simulator failed, or the design without a mutation was found wrong."""


def run_mutants(mutated: Mutated, vectors: Vectors) -> dict[int, int]:
    """Simulate every mutant.

    Returns
    -------
    dict of int to int
        The killed ones, and the cycle in which each was.

    Raises
    ------
    BenchError
        If the simulator fails, or the design without mutation differs from the vectors, before
        all mutants or after them.
    """
    folder = mutated.folder
    widths = _widths(mutated.verilog)
    (folder / "bench.v").write_text(_bench(mutated, vectors, widths), encoding="utf-8")
    # one cycle more, whose outputs nobody looks at
    inputs = {name: [*values, values[-1]] for name, values in vectors.inputs.items()}
    _write(folder / "in.hex", inputs, widths)
    _write(folder / "out.hex", vectors.outputs, widths)
    _call(["iverilog", "-g2005", "-o", "bench.vvp", "bench.v", mutated.verilog.name], folder)
    output = _call(["vvp", "-n", "bench.vvp"], folder)
    verdicts = [(int(n), int(c)) for n, c in re.findall(r"^MUTANT (\d+) (-?\d+)$", output, re.M)]
    if [n for n, _ in verdicts] != [*range(len(mutated.changes) + 1), 0]:
        raise BenchError(f"{folder}: the simulation ended early")
    if any(cycle >= 0 for number, cycle in verdicts if number == 0):
        raise BenchError(f"{folder}: the design without mutation is not as recorded")
    return {number: cycle for number, cycle in verdicts if cycle >= 0}


def _bench(mutated: Mutated, vectors: Vectors, widths: dict[str, int]) -> str:
    """Return the test bench: one port a slice of a wide word, the first in the lowest bits."""
    total_in = sum(widths[name] for name in vectors.inputs)
    total_out = sum(widths[name] for name in vectors.outputs)
    wrong = [
        f"(out[{hi}:{lo}] !== want[{hi}:{lo}]"
        + (
            f" && want[{_slices(vectors.outputs, widths)[vectors.guards[name]][0]}])"
            if name in vectors.guards
            else ")"
        )
        for name, (hi, lo) in _slices(vectors.outputs, widths).items()
    ]
    inputs = _slices(vectors.inputs, widths)
    rst = f"rst | in[{inputs['rst'][1]}]" if "rst" in inputs else "rst"
    connections = [f".clk(clk), .rst({rst}), .{SELECT}(number)"]
    connections += [f".{n}(in[{hi}:{lo}])" for n, (hi, lo) in inputs.items() if n != "rst"]
    connections += [
        f".{n}(out[{hi}:{lo}])" for n, (hi, lo) in _slices(vectors.outputs, widths).items()
    ]
    joined = ",\n    ".join(connections)
    return f"""`timescale 1ns/1ns
module bench;
  reg clk = 0, rst = 1;
  reg [{mutated.bits - 1}:0] number = 0;
  reg [{total_in - 1}:0] in = 0, ins [0:{vectors.cycles}];
  reg [{total_out - 1}:0] want = 0, wants [0:{vectors.cycles - 1}];
  wire [{total_out - 1}:0] out;
  integer n, i, killed;
  top dut(
    {joined});
  initial begin
    $readmemh("in.hex", ins);
    $readmemh("out.hex", wants);
    for (n = 0; n <= {len(mutated.changes) + 1}; n = n + 1) begin
      number = n == {len(mutated.changes) + 1} ? 0 : n;
      rst = 1; in = 0; #1 clk = 1; #1 clk = 0; rst = 0;
      killed = -1; in = ins[0];
      for (i = 0; i < {vectors.cycles} && killed < 0; i = i + 1) begin
        want = wants[i]; #1
        if ({" || ".join(wrong)}) killed = i;
        clk = 1; #1 in = ins[i + 1]; #1 clk = 0;
      end
      $display("MUTANT %0d %0d", number, killed);
    end
    $finish;
  end
endmodule
"""


def _slices(ports: dict[str, list[int]], widths: dict[str, int]) -> dict[str, tuple[int, int]]:
    slices, low = {}, 0
    for name in ports:
        slices[name] = (low + widths[name] - 1, low)
        low += widths[name]
    return slices


def _write(path: Path, ports: dict[str, list[int]], widths: dict[str, int]) -> None:
    """Write a hexadecimal word a cycle."""
    slices = _slices(ports, widths)
    words = [
        sum(value << slices[name][1] for name, value in zip(ports, cycle, strict=True))
        for cycle in zip(*ports.values(), strict=True)
    ]
    path.write_text("".join(f"{word:x}\n" for word in words), encoding="utf-8")


def _widths(verilog: Path) -> dict[str, int]:
    """Widths of the ports of `top`."""
    pattern = r"^  (?:input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);$"
    found = re.findall(pattern, verilog.read_text(encoding="utf-8"), re.M)
    return {name: int(high or 0) + 1 for high, name in found}


def _call(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BenchError(f"{command[0]} must be on PATH: install Icarus Verilog") from error
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or [str(done.returncode)]
        raise BenchError(f"{command[0]} failed: {lines[0]}")
    return done.stdout
