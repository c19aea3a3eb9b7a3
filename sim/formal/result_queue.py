"""The queue of results never overflows: the array is given room only for what finds a place.

A place in the queue is spent when the array takes a tile, for each of its beats. What was spent is
on its way through the array (`owed`), in the requantisers, in the queue, or has been sent: by
induction these and the places left always add up to the queue's size.
"""

from __future__ import annotations

from amaranth import Module, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib import stream
from amaranth.lib.wiring import In

from hw.accelerator_config import AcceleratorConfig
from hw.layer import COUNT_BITS, layer_layout
from hw.requant import LATENCY
from hw.results import Results
from sim.formal.harness import Harness, claim, given, later
from sim.formal.streams import keep_offer
from sim.formal.walk import steady_layer, walks


class ResultsFit(Harness):
    """Results with a free consumer and a free array that takes a tile only where there is room.

    Its sums come whenever they like, those of a tile in the order of their rows. What the
    requantisers compute is cut out.

    Parameters
    ----------
    config : AcceleratorConfig
        With at least two drain cycles and channel tiles.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        array = config.array
        units = [
            f"dut.requantiser_{row}_{col}"
            for row in range(array.drain_rows)
            for col in range(array.cols)
        ]
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "more": In(1),
                "following": In(layer_layout(config)),
                "taken": In(1),
                "psum_valid": In(1),
                "out_ready": In(1),
            },
            probes={
                "credit": ("dut.credit", range(config.result_words + 1)),
                "inner_level": ("dut.queue.inner_level", range(config.result_words)),
                "tile": ("dut.tile", range(config.channel_tiles)),
                "pixel_tile": ("dut.pixel_tile", COUNT_BITS),
            },
            cuts=tuple(f"{unit}.product" for unit in units),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.dut = dut = Results(config)
        drain, size = config.array.drain_cycles, config.result_words
        owed, row = Signal(range(size + 1)), Signal(range(drain))
        m.d.comb += [
            given(~ResetSignal()),
            dut.layer_valid.eq(self.layer_valid),
            dut.layer.eq(self.layer),
            dut.more.eq(self.more),
            dut.following.eq(self.following),
            dut.out_ready.eq(self.out_ready),
            dut.taken.eq(self.taken),
            given(~self.taken | dut.room),
            dut.psum_valid.eq(self.psum_valid),
            dut.psum.row.eq(row),
            # sums are of tiles that were taken, of the layer that is there
            given(~self.psum_valid | ((owed != 0) & self.layer_valid)),
        ]
        last_row = self.psum_valid & (row == drain - 1)
        m.d.sync += owed.eq(owed + self.taken * drain - self.psum_valid)
        with m.If(self.psum_valid):
            m.d.sync += row.eq(row + 1)
            with m.If(last_row):
                m.d.sync += row.eq(0)
        self._places(m, dut, owed)
        steady_layer(m, valid=self.layer_valid, layer=self.layer, finish=dut.finish)
        counts = [(self.tile, self.layer.tiles), (self.pixel_tile, self.layer.pixel_tiles)]
        for _, count in counts:
            m.d.comb += given(~self.layer_valid | (count != 0))
        m.d.comb += given(self.layer.tiles <= config.channel_tiles)
        walks(m, counts, active=self.layer_valid, step=last_row, finish=dut.finish)
        return m

    def _places(self, m: Module, dut: Results, owed: Signal) -> None:
        drain, size = self.config.array.drain_cycles, self.config.result_words
        under_way: Value = owed
        arrives: Value = self.psum_valid
        for stage in range(LATENCY):
            arrives = later(m, arrives, 1, f"stage_{stage}")
            under_way = under_way + arrives
        level = self.inner_level + dut.out_valid
        m.d.comb += [
            claim(self.credit <= size),
            claim(self.credit + under_way + level == size),
            # the queue: a memory, and a register that is never empty for long before it
            claim(dut.out_valid | (self.inner_level <= 1)),
            claim(~arrives | (self.inner_level != size - 1)),
            claim(~dut.room | (under_way + level + drain <= size)),
            claim(dut.empty == ((under_way + level) == 0)),
        ]
        out = stream.Signature(1).create(path=("out",))
        m.d.comb += [
            out.valid.eq(dut.out_valid),
            out.ready.eq(self.out_ready),
            out.payload.eq(dut.out_last),
        ]
        keep_offer(m, out, name="out", assume=False)
