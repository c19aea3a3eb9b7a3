"""Steps of the array: which digit, which chunk, when results leave."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import MAX_CHUNKS, ArrayConfig
from hw.pe.signature import control_layout
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
    left : In(1)
        A column has digits left after this step; only where the kind skips zeros. The weights of a
        chunk are one item then, taken with its first step.
    step : Out(1)
        A step happens: the weight edges load.
    first : Out(1)
        It is the first of a chunk: the activation edges load, too.
    last : Out(1)
        It is the last of a chunk.
    control : Out(control_layout(config))
        To the edges, which register it: one cycle before the PEs need it.
    psum_valid : Out(1)
        Rows of results leave in this cycle.
    psum_row : Out(range(rows // drain_rows))
        Which: row ``psum_row + i * rows // drain_rows`` for each ``i`` below `drain_rows`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        members = {
            "tile": In(stream.Signature(TILE)),
            "weight_valid": In(1),
            "act_valid": In(1),
            "room": In(1),
            "step": Out(1),
            "first": Out(1),
            "last": Out(1),
            "control": Out(control_layout(config)),
            "psum_valid": Out(1),
            "psum_row": Out(range(config.drain_cycles)),
        }
        if config.pe.traits.skips_zeros:
            members["left"] = In(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        chunk = Signal(CHUNK_BITS)
        wait = Signal(range(config.drain_cycles + 1))
        digit = self._walk(m)
        last_chunk = chunk == self.tile.payload.chunks
        starts = self.first & (chunk == 0)
        last = self.last & last_chunk
        # with output registers results must have left before the next ones finish; without, before
        # the next tile begins
        clear_to_go = Mux(last if config.double_buffered else starts, wait == 0, 1)
        held_word = ~self.first if config.pe.traits.skips_zeros else Const(0, 1)
        m.d.comb += [
            self.step.eq(
                self.tile.valid
                & (self.weight_valid | held_word)
                & (self.act_valid | ~self.first)
                & clear_to_go
                & (self.room | ~last)
            ),
            self.tile.ready.eq(self.step & last),
        ]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.step):
            with m.If(self.last):
                m.d.sync += chunk.eq(Mux(last_chunk, 0, chunk + 1))
            with m.If(last):
                m.d.sync += wait.eq(config.drain_cycles - 1)
        self._pipeline(m, digit=digit, starts=starts, last=last)
        return m

    def _walk(self, m: Module) -> Signal:
        """Find the first and the last step of a chunk; return the digit of a serial kind."""
        config = self.config
        digits = config.weight_items(WeightMode.W8)
        digit = Signal(range(max(digits, 2)))
        if config.pe.traits.skips_zeros:
            m.d.comb += [self.first.eq(~digit), self.last.eq(~self.left)]
            with m.If(self.step):
                m.d.sync += digit.eq(self.left)
        elif config.pe.traits.serial:
            # two bits of a weight, or one, are a digit
            top = (
                self.tile.payload.mode
                if digits == WeightMode.W8.digits
                else Cat(1, self.tile.payload.mode)
            )
            m.d.comb += [self.first.eq(digit == 0), self.last.eq(digit == top)]
            with m.If(self.step):
                m.d.sync += digit.eq(Mux(self.last, 0, digit + 1))
        else:
            m.d.comb += [self.first.eq(1), self.last.eq(1)]
        return digit

    def _pipeline(self, m: Module, *, digit: Signal, starts: Value, last: Value) -> None:
        config = self.config
        latency = pipeline_latency(config)

        def delayed(name: str, value: Value, cycles: int) -> Value:
            for stage in range(cycles):
                register = Signal(value.shape(), name=f"{name}_{stage}")
                m.d.sync += register.eq(value)
                value = register
            return value

        traits, before = config.pe.traits, config.registers_before_shift
        if traits.shift_positions:
            position = digit if traits.serial else self.tile.payload.mode
            one_hot = Signal(traits.shift_positions)
            m.d.comb += [
                one_hot.eq(Mux(self.step, 1 << position, 0)),
                self.control.shift.eq(delayed("shift", one_hot, before)),
            ]
        if traits.serial:
            m.d.comb += self.control.top.eq(delayed("top", self.last, before))
        done = delayed("finished", self.step & last, latency - 1)
        leaves = delayed("captured", done, 1) if config.double_buffered else done
        row = Signal(range(config.drain_cycles))
        valid = Signal()
        m.d.comb += [
            self.control.clear.eq(delayed("clear", self.step & starts, latency - 2)),
            self.control.capture.eq(done),
            valid.eq(leaves | (row != 0)),
        ]
        if not config.double_buffered:
            m.d.comb += self.control.drain.eq(valid & (row != config.drain_cycles - 1))
        with m.If(valid):
            m.d.sync += row.eq(Mux(row == config.drain_cycles - 1, 0, row + 1))
        m.d.sync += [self.psum_valid.eq(valid), self.psum_row.eq(row)]
