"""Steps of the array: which digit, which chunk, when results leave."""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import MAX_CHUNKS, ArrayConfig
from hw.pe.signature import CONTROL
from hw.precision import WeightMode
from hw.schedule import pipeline_latency

CHUNK_BITS = (MAX_CHUNKS - 1).bit_length()

TILE = data.StructLayout({"mode": 2, "chunks": CHUNK_BITS})
"""A tile: digits per weight less one, chunks of `lanes` products less one."""


class Control(Component):
    """Walks through chunks and digits of each tile; pipelines the PEs' control.

    A step happens when its operands are there. The last step of a tile also waits until results
    of earlier tiles have left and the consumer has `room` for a whole tile, because results then
    leave cycle by cycle and are never held back.

    Members
    -------
    tile : In(stream of TILE)
        Taken with its last step.
    weight_valid, act_valid : In(1)
        Operands wait at the edges.
    room : In(1)
        The consumer can take the results of one more tile; the place is spent when the tile is
        taken, some cycles before its results arrive.
    step : Out(1)
        A step happens: the weight edges load.
    first : Out(1)
        It is the first digit of a chunk: the activation edges load, too.
    control : Out(CONTROL)
        To the edges, which register it: one cycle before the PEs need it.
    psum_valid : Out(1)
        Rows of results leave in this cycle.
    psum_row : Out(range(rows // drain_rows))
        Which: row ``psum_row + i * rows // drain_rows`` for each ``i`` below `drain_rows`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(
            {
                "tile": In(stream.Signature(TILE)),
                "weight_valid": In(1),
                "act_valid": In(1),
                "room": In(1),
                "step": Out(1),
                "first": Out(1),
                "control": Out(CONTROL),
                "psum_valid": Out(1),
                "psum_row": Out(range(config.drain_cycles)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        digit = Signal(range(WeightMode.W8.digits))
        chunk = Signal(CHUNK_BITS)
        wait = Signal(range(config.drain_cycles + 1))
        serial = config.steps(WeightMode.W8) > 1
        last_digit = (digit == self.tile.payload.mode) if serial else 1
        last_chunk = chunk == self.tile.payload.chunks
        starts = (digit == 0) & (chunk == 0)
        last = last_digit & last_chunk
        # with output registers results must have left before the next ones finish; without, before
        # the next tile begins
        clear_to_go = Mux(last if config.double_buffered else starts, wait == 0, 1)
        m.d.comb += [
            self.first.eq(digit == 0),
            self.step.eq(
                self.tile.valid
                & self.weight_valid
                & (self.act_valid | ~self.first)
                & clear_to_go
                & (self.room | ~last)
            ),
            self.tile.ready.eq(self.step & last),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.step):
            if serial:
                m.d.sync += digit.eq(Mux(last_digit, 0, digit + 1))
            with m.If(last_digit):
                m.d.sync += chunk.eq(Mux(last_chunk, 0, chunk + 1))
            with m.If(last):
                m.d.sync += wait.eq(config.drain_cycles - 1)
        self._pipeline(m, digit=digit, starts=starts, last=last)
        return m

    def _pipeline(self, m: Module, *, digit: Signal, starts: Value, last: Value) -> None:
        config = self.config
        latency = pipeline_latency(config)

        def delayed(name: str, value: Value, cycles: int) -> Value:
            for stage in range(cycles):
                register = Signal(value.shape(), name=f"{name}_{stage}")
                m.d.sync += register.eq(value)
                value = register
            return value

        one_hot = Signal(WeightMode.W8.digits)
        m.d.comb += one_hot.eq(Mux(self.step, 1 << digit, 0))
        done = delayed("finished", self.step & last, latency - 1)
        leaves = delayed("captured", done, 1) if config.double_buffered else done
        row = Signal(range(config.drain_cycles))
        valid = Signal()
        m.d.comb += [
            self.control.shift.eq(delayed("shift", one_hot, latency - 3)),
            self.control.clear.eq(delayed("clear", self.step & starts, latency - 2)),
            self.control.capture.eq(done),
            valid.eq(leaves | (row != 0)),
        ]
        if not config.double_buffered:
            m.d.comb += self.control.drain.eq(valid & (row != config.drain_cycles - 1))
        with m.If(valid):
            m.d.sync += row.eq(Mux(row == config.drain_cycles - 1, 0, row + 1))
        m.d.sync += [self.psum_valid.eq(valid), self.psum_row.eq(row)]
