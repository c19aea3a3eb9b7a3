"""Results on their way out: requantised, queued, sent."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, fifo
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.array import psum_layout
from hw.component import Component, structured
from hw.layer import COUNT_BITS, layer_layout
from hw.requant import CHANNEL, LATENCY, Requantiser

BOUNDS_DELAY = LATENCY - 1
"""Cycles from a sum to the stage of the requantiser that takes zero point and bounds."""


class Results(Component):
    """A requantiser for every sum that leaves the array in a cycle, and a queue behind them.

    Results cannot be held back (ADR 0005), so the array takes a tile only while the queue has room
    for all that was taken before.

    Members
    -------
    layer_valid, layer, more, following, finish
        See `hw.layer.LayerQueue`; `finish` comes with a layer's last sums.
    read, address, channels : Out(1), Out(range(2 * channel_tiles)), In
        Read port of the parameter store; channels a cycle after the address.
    taken : In(1)
        The array takes a tile.
    room : Out(1)
        It may.
    psum_valid, psum : In(1), In(psum_layout(array))
    out_valid, out_ready, out_data, out_last
        Stream of results, the last beat of each layer marked.
    empty : Out(1)
        All results of all tiles taken were sent.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        array = config.array
        super().__init__(
            {
                "layer_valid": In(1),
                "layer": In(layer_layout(config)),
                "more": In(1),
                "following": In(layer_layout(config)),
                "finish": Out(1),
                "read": Out(1),
                "address": Out(range(2 * config.channel_tiles)),
                "channels": In(data.ArrayLayout(CHANNEL, array.cols)),
                "taken": In(1),
                "room": Out(1),
                "psum_valid": In(1),
                "psum": In(psum_layout(array)),
                "out_valid": Out(1),
                "out_ready": In(1),
                "out_data": Out(8 * config.bus_bytes),
                "out_last": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, array = self.config, self.config.array
        last = self._parameters(m)
        bounds = data.StructLayout(
            {"zero_point": array.act_bits, "low": array.act_bits, "high": array.act_bits, "wrap": 1}
        )
        early = structured(bounds, name="bounds")
        m.d.comb += [
            early.zero_point.eq(self.layer.out_zero_point),
            early.low.eq(self.layer.low),
            early.high.eq(self.layer.high),
            early.wrap.eq(self.layer.wrap),
        ]
        late = data.View(bounds, _delayed(m, early.as_value(), BOUNDS_DELAY))
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(
            width=8 * config.bus_bytes + 1, depth=config.result_words
        )
        word: list[Value] = []
        for row in range(array.drain_rows):
            for col in range(array.cols):
                m.submodules[f"requantiser_{row}_{col}"] = unit = Requantiser(array)
                m.d.comb += [
                    unit.valid.eq(self.psum_valid),
                    unit.sum.eq(self.psum.sums[col][row]),
                    unit.channel.eq(self.channels[col]),
                    unit.zero_point.eq(late.zero_point),
                    unit.low.eq(late.low),
                    unit.high.eq(late.high),
                    unit.wrap.eq(late.wrap),
                ]
                byte = Signal(8, name=f"byte_{row}_{col}")
                m.d.comb += byte.eq(unit.out)  # a signed activation with its sign
                word.append(byte)
                if not row and not col:
                    m.d.comb += queue.w_en.eq(unit.out_valid)
        m.d.comb += [
            queue.w_data.eq(Cat(*word, _delayed(m, last, LATENCY))),
            self.out_valid.eq(queue.r_rdy),
            queue.r_en.eq(self.out_ready),
            Cat(self.out_data, self.out_last).eq(queue.r_data),
        ]
        credit = Signal(range(config.result_words + 1), init=config.result_words)
        sent = self.out_valid & self.out_ready
        m.d.sync += credit.eq(credit + sent - Mux(self.taken, array.drain_cycles, 0))
        m.d.comb += [
            self.room.eq(credit >= array.drain_cycles),
            self.empty.eq(credit == config.result_words),
        ]
        return m

    def _parameters(self, m: Module) -> Value:
        """Read a tile's parameters before its sums come; return whether they are the last."""
        config, layer = self.config, self.layer
        tile = Signal(range(config.channel_tiles))
        pixel_tile = Signal(COUNT_BITS)
        ready = Signal()
        last_row = self.psum_valid & (self.psum.row == config.array.drain_cycles - 1)
        last_tile = tile == layer.tiles - 1
        last: Value = last_row & last_tile & (pixel_tile == layer.pixel_tiles - 1)
        behind = Mux(last_row, Mux(last_tile, 0, tile + 1), tile)
        half = Mux(last, self.following.weight_half, layer.weight_half)
        m.d.comb += [
            self.read.eq(self.layer_valid & (last_row | ~ready)),
            self.address.eq(Mux(half, config.channel_tiles, 0) + behind),
            self.finish.eq(last),
        ]
        m.d.sync += ready.eq(Mux(last, self.more, self.layer_valid))
        with m.If(last_row):
            m.d.sync += tile.eq(behind)
            with m.If(last_tile):
                m.d.sync += pixel_tile.eq(Mux(last, 0, pixel_tile + 1))
        return last


def _delayed(m: Module, value: Value, cycles: int) -> Value:
    for _ in range(cycles):
        register = Signal(len(value))
        m.d.sync += register.eq(value)
        value = register
    return value
