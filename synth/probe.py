"""What the ports of the array's modules see while it works on real tiles.

The array, or one column of it, runs in Icarus on its RTL; results are compared with the golden
model, and every cycle of the modules that are watched is recorded, to be replayed on their
netlists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from amaranth import Module, Signal, Value
from amaranth.lib.wiring import Out

from hw.array import MacArray
from hw.component import Component
from hw.config import ArrayConfig
from hw.schedule import steps_of_weights
from hw.verilog import to_verilog
from sim.bench.tiles import Tile
from sim.golden import Ints
from synth.activity import SimulationError, run_icarus

IDLE_CYCLES = 64
"""Cycles recorded after the last result, in which nothing happens."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Ports of the modules, cycle by cycle.

    Parameters
    ----------
    ports : dict of module to dict of port to list of int
        Values at the end of each cycle.
    starts : list of int
        Cycle of the first step of every run of tiles.
    busy : int
        Cycles before the idle ones at the end.
    """

    ports: dict[str, dict[str, list[int]]]
    starts: list[int]
    busy: int


def watched(array: MacArray) -> dict[str, Component]:
    """Return the modules whose ports are recorded: one of each."""
    return {
        "pe": array.pes[0][0],
        "weight_edge": array.weight_edges[0],
        "act_edge": array.act_edges[0],
        "control": array.control,
    }


def all_watched(array: MacArray) -> dict[str, Component]:
    """Return every module of an array, and the ``array`` itself; PEs are ``pe_row_col``."""
    modules: dict[str, Component] = {"array": array, "control": array.control}
    modules |= {f"weight_edge_{col}": edge for col, edge in enumerate(array.weight_edges)}
    modules |= {f"act_edge_{row}": edge for row, edge in enumerate(array.act_edges)}
    for row, pes in enumerate(array.pes):
        modules |= {f"pe_{row}_{col}": pe for col, pe in enumerate(pes)}
    return modules


Watch = Callable[[MacArray], dict[str, Component]]


class _Probe(Component):
    """The array with the ports of its modules brought out."""

    def __init__(self, config: ArrayConfig, watch: Watch) -> None:
        self.array = MacArray(config)
        self.values: dict[str, Value] = {}
        for name, component in watch(self.array).items():
            for path, _, value in component.signature.flatten(component):
                if len(Value.cast(value)):  # an index of one row has no bits
                    self.values[f"{name}___{'__'.join(map(str, path))}"] = Value.cast(value)
        outputs = {name: Out(len(value)) for name, value in self.values.items()}
        super().__init__(dict(self.array.signature.members) | outputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.array = array = self.array
        for name, value in self.values.items():
            m.d.comb += getattr(self, name).eq(value)
        for path, member, port in array.signature.flatten(array):
            outer = self
            for part in path:
                outer = getattr(outer, str(part))
            inner_value, outer_value = Value.cast(port), Value.cast(outer)
            if member.flow is Out:
                m.d.comb += outer_value.eq(inner_value)
            else:
                assert isinstance(inner_value, Signal)
                m.d.comb += inner_value.eq(outer_value)
        return m


def record(
    config: ArrayConfig,
    runs: Sequence[Sequence[Tile]],
    *,
    folder: Path,
    watch: Watch = watched,
) -> Recording:
    """Run tiles on the RTL and record the modules' ports.

    Parameters
    ----------
    config : ArrayConfig
        The array; as many columns of it are built as the tiles have.
    runs : sequence of sequence of Tile
        Act [rows, K], weight [K, cols]; one run after the other, for example a layer each.
    folder : Path
        Where the simulator's files go.
    watch : callable
        The modules of an array that are recorded, by name; the control must be among them.

    Raises
    ------
    SimulationError
        If the simulator fails, or a result differs from the golden model.
    """
    tiles = [tile for run in runs for tile in run]
    config = replace(config, cols=tiles[0].weight.shape[1])
    probe = _Probe(config, watch)
    folder.mkdir(parents=True, exist_ok=True)
    items = {
        "tiles": [tile.command(config) for tile in tiles],
        "acts": [item for tile in tiles for item in tile.act_items(config)],
        "weights": [item for tile in tiles for item in tile.weight_items(config)],
    }
    for name, values in items.items():
        text = "".join(f"{value:x}\n" for value in values)
        (folder / f"{name}.hex").write_text(text, encoding="ascii")
    widths = {name: len(value) for name, value in probe.values.items()}
    source = to_verilog(probe, name="probe") + _bench(
        probe, widths, {name: len(values) for name, values in items.items()}
    )
    (folder / "probe.v").write_text(source, encoding="utf-8")
    run_icarus(folder, "probe")
    ports, psums = _read(folder / "probe.txt", widths, config)
    _check(tiles, psums)
    steps = np.flatnonzero(ports["control"]["step"])
    before = np.cumsum([0, *(_steps(run, config) for run in runs)])
    if before[-1] != len(steps):
        raise SimulationError(f"the RTL must take {before[-1]} steps, not {len(steps)}")
    return Recording(
        ports=ports,
        starts=[int(steps[first]) for first in before[:-1]],
        busy=len(ports["control"]["step"]) - IDLE_CYCLES,
    )


def _steps(run: Sequence[Tile], config: ArrayConfig) -> int:
    return sum(steps_of_weights(tile.weight.tolist(), tile.mode, config) for tile in run)


def _bench(probe: _Probe, widths: dict[str, int], counts: dict[str, int]) -> str:
    streams = {"tiles": len(Value.cast(probe.tiles.payload))}
    streams |= {"acts": len(Value.cast(probe.acts.payload))}
    streams |= {"weights": len(Value.cast(probe.weights.payload))}
    declare, connect, load, advance = [], [], [], []
    for name, width in streams.items():
        # the last item stays on offer, so that nothing is unknown once the registers have loaded
        item = f"{name}_at < {counts[name]} ? {name}_at : {counts[name] - 1}"
        declare += [
            f"reg [{width - 1}:0] {name} [0:{counts[name]}];",
            f"integer {name}_at = 0; wire {name}_ready;",
        ]
        connect += [
            f".{name}__payload({name}[{item}])",
            f".{name}__valid({name}_at < {counts[name]})",
            f".{name}__ready({name}_ready)",
        ]
        load.append(f'$readmemh("{name}.hex", {name}, 0, {counts[name] - 1});')
        advance.append(f"if ({name}_ready && {name}_at < {counts[name]}) {name}_at <= {name}_at+1;")
    for name, width in widths.items():
        declare.append(f"wire [{width - 1}:0] {name};")
        connect.append(f".{name}({name})")
    psum = len(Value.cast(probe.psums.payload))
    declare.append(f"wire psum_valid; wire [{psum - 1}:0] psum;")
    connect += [".psums__valid(psum_valid)", ".psums__payload(psum)"]
    words = ", ".join(["psum", "psum_valid", *reversed(widths)])
    results = counts["tiles"] * probe.array.config.drain_cycles
    return f"""
`timescale 1ps/1ps
module bench;
reg clk = 0, rst = 1;
integer results = 0, idle = 0, file;
{chr(10).join(declare)}
probe dut(.clk(clk), .rst(rst), .room(1'b1), {", ".join(connect)});
always #500 clk = ~clk;
always @(posedge clk) if (!rst) begin
  {" ".join(advance)}
  results <= results + psum_valid;
  if (results == {results}) idle <= idle + 1;
  $fdisplay(file, "%h", {{{words}}});
  if (idle == {IDLE_CYCLES - 1}) $finish;
end
initial begin
  {" ".join(load)}
  file = $fopen("probe.txt", "w");
  #2200 rst = 0;
end
endmodule
"""


def _read(
    path: Path, widths: dict[str, int], config: ArrayConfig
) -> tuple[dict[str, dict[str, list[int]]], Ints]:
    ports: dict[str, dict[str, list[int]]] = {}
    columns = []
    for name in widths:
        module, port = name.split("___")
        columns.append(ports.setdefault(module, {}).setdefault(port, []))
    row_bits, bits = (config.drain_cycles - 1).bit_length(), config.acc_bits
    psums = []
    for line in path.read_text(encoding="ascii").splitlines():
        # registers without reset are unknown until the first data reach them
        word = int(line.translate(str.maketrans("xXzZ", "0000")), 16)
        for column, width in zip(columns, widths.values(), strict=True):
            column.append(word & ((1 << width) - 1))
            word >>= width
        if word & 1:
            sums = word >> 1 + row_bits
            count = config.cols * config.drain_rows
            fields = [sums >> bits * i & (1 << bits) - 1 for i in range(count)]
            psums.append([field - (field >> bits - 1 << bits) for field in fields])
    shape = -1, config.drain_cycles, config.cols, config.drain_rows
    by_tile = np.array(psums).reshape(shape).transpose(0, 3, 1, 2)
    return ports, by_tile.reshape(-1, config.rows, config.cols)


def _check(tiles: Sequence[Tile], psums: Ints) -> None:
    expected = np.array([tile.expected() for tile in tiles])
    if not np.array_equal(expected, psums):
        raise SimulationError("the RTL must equal the golden model before its energy is measured")
