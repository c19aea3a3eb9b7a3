"""Check of a descriptor, and all that follows from it; one multiplication a cycle."""

from collections.abc import Callable

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component
from hw.descriptor import FIELDS, FLAGS, VERSION, ErrorCode
from hw.layer import layer_layout, pixel_bits
from hw.precision import WeightMode

DESCRIPTOR = data.StructLayout(dict(FIELDS))

STEPS = 11
"""Products of a check."""

LATENCY = STEPS + 3
"""Cycles from `start` to `done`."""


class Check(Component):
    """Turns a descriptor into a layer, or into the first error found.

    Members
    -------
    start : In(1)
    descriptor : In(DESCRIPTOR)
        Held until `done`.
    done : Out(1)
        `LATENCY` cycles behind `start`; the outputs below hold until the next start.
    error : Out(4)
        `hw.descriptor.ErrorCode`.
    layer : Out(layer_layout(config))
        Without `words`, `act_half` and `weight_half`, which the loader knows.
    channel_tiles : Out(16)
        Tiles of `cols` input channels.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "descriptor": In(DESCRIPTOR),
                "done": Out(1),
                "error": Out(4),
                "layer": Out(layer_layout(config)),
                "channel_tiles": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        d = self.descriptor
        step = Signal(range(LATENCY))
        left = Signal(32)
        right = Signal(16)
        product = Signal(48, reset_less=True)
        m.d.comb += self.done.eq(step == LATENCY - 1)
        m.d.sync += product.eq(left * right)
        with m.If((step != 0) | self.start):
            m.d.sync += step.eq(Mux(self.done, 0, step + 1))

        def fail(condition: Value, code: ErrorCode) -> None:
            with m.If((self.error == ErrorCode.NONE) & condition):
                m.d.sync += self.error.eq(code)

        with m.If(self.start):
            m.d.sync += self.error.eq(ErrorCode.NONE)
        with m.If(step == 1):
            self._copy(m)
            flags = d.flags >> len(FLAGS)
            sizes = [d.kernel_h, d.kernel_w, d.stride, d.in_h, d.in_w, d.out_h, d.out_w]
            sizes += [d.in_channels, d.group_channels, d.groups, d.out_tiles]
            wrong = (d.version != VERSION) | (flags != 0) | (d.reserved != 0)
            with m.If(wrong):
                m.d.sync += self.error.eq(ErrorCode.VERSION)
            with m.Elif(d.mode > WeightMode.W8.digits - 1):
                m.d.sync += self.error.eq(ErrorCode.MODE)
            with m.Elif(~Cat(*[size.any() for size in sizes]).all()):
                m.d.sync += self.error.eq(ErrorCode.SHAPE)
        products = self._products(fail, m, product)
        assert len(products) == STEPS
        with m.Switch(step):
            for index, (a, b, _) in enumerate(products):
                with m.Case(index + 1):
                    m.d.comb += [left.eq(a), right.eq(b)]
        for index, (_, _, then) in enumerate(products):
            with m.If(step == index + 2):
                then()
        return m

    def _copy(self, m: Module) -> None:
        """Take over what needs no product."""
        config, array, d, layer = self.config, self.config.array, self.descriptor, self.layer
        same = layer.shape().members.keys() & d.shape().members.keys()
        m.d.sync += [layer[name].eq(d[name]) for name in sorted(same)]
        m.d.sync += [
            layer.wrap.eq(d.flags[FLAGS.index("wrap")]),
            layer.last.eq(d.flags[FLAGS.index("last")]),
            self.channel_tiles.eq(_over(d.in_channels, array.cols)),
        ]
        largest = (config.largest_piece - 1).bit_length()
        m.d.sync += layer.piece_log2.eq(largest)
        for log2 in reversed(range(largest)):
            with m.If(d.group_channels[log2]):
                m.d.sync += layer.piece_log2.eq(log2)

    def _products(
        self, fail: Callable[[Value, ErrorCode], None], m: Module, product: Signal
    ) -> list[tuple[Value, Value, Callable[[], None]]]:
        """Factors of each product and what to do with it, in order."""
        config, array, d, layer = self.config, self.config.array, self.descriptor, self.layer
        taps = Signal(16, reset_less=True)
        channel_words = _over(d.in_channels, config.bank_channels)

        def outputs() -> None:
            m.d.sync += layer.pixel_tiles.eq(_over(product, array.rows))
            m.d.sync += layer.tail.eq(product[: len(layer.tail)])

        def inputs() -> None:
            plane = _over(product, array.rows)
            m.d.sync += layer.plane.eq(plane)
            fail(plane > config.act_words, ErrorCode.ACT_SPACE)

        def act_words() -> None:
            fail(product > config.act_words, ErrorCode.ACT_SPACE)

        def kernel() -> None:
            m.d.sync += taps.eq(product)

        def depth() -> None:
            fail(product > array.max_depth, ErrorCode.DEPTH)
            with m.Switch(d.mode):
                for mode in WeightMode:
                    with m.Case(mode.digits - 1):
                        chunks = _over(product, array.chunk_depth(mode))
                        m.d.sync += layer.chunks.eq(chunks - 1)

        def channels() -> None:
            fail(product != d.in_channels, ErrorCode.SHAPE)

        def tiles() -> None:
            m.d.sync += layer.tiles.eq(product)
            fail(product > config.channel_tiles, ErrorCode.CHANNEL_SPACE)

        def row_step() -> None:
            m.d.sync += layer.row_step.eq(product)

        def row_span() -> None:
            m.d.sync += layer.row_span.eq(product)
            fail(product >= d.in_w + d.pad_left + d.stride, ErrorCode.SHAPE)

        def column_span() -> None:
            fail(product >= d.in_h + d.pad_top + d.stride, ErrorCode.SHAPE)

        def origin() -> None:
            m.d.sync += layer.origin.eq((-(product + d.pad_left))[: pixel_bits(config)])

        return [
            (d.out_h, d.out_w, outputs),
            (d.kernel_h, d.kernel_w, kernel),
            (d.in_h, d.in_w, inputs),
            (taps, d.group_channels, depth),
            (layer.plane, channel_words, act_words),
            (d.groups, d.group_channels, channels),
            (d.groups, d.out_tiles, tiles),
            (d.stride, d.in_w, row_step),
            (d.stride, d.out_w, row_span),
            (d.stride, d.out_h, column_span),
            (d.pad_top, d.in_w, origin),
        ]


def _over(value: Value, unit: int) -> Value:
    """Quotient by a power of two, rounded up."""
    return (value + unit - 1) >> (unit - 1).bit_length()
