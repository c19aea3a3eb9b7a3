"""Requantiser: sums to activations, exactly as docs/numerics.md defines it."""

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.precision import BIAS_BITS, MULTIPLIER_BITS, SHIFT_MAX

CHANNEL = data.StructLayout(
    {"bias": signed(BIAS_BITS), "multiplier": MULTIPLIER_BITS, "shift": SHIFT_MAX.bit_length()}
)
"""Parameters of an output channel; `shift` is 1 to `hw.precision.SHIFT_MAX`."""

LATENCY = 4
"""Clock edges from a sum to its activation."""


class Requantiser(Component):
    """``clamp((((sum + bias) * multiplier + 2**(shift - 1)) >> shift) + zero_point, low, high)``.

    Latency is `LATENCY` cycles, throughput one sum a cycle. ``sum + bias`` must fit 32 bits.

    Members
    -------
    valid : In(1)
        `sum` and `channel` are there.
    sum : In(signed(acc_bits))
        Result of the array.
    channel : In(CHANNEL)
        Of the sum's output channel.
    zero_point, low, high : In(act_bits), signed if activations are
        Of the layer, three cycles behind its sum. ReLU raises `low` to the zero point.
    wrap : In(1)
        With them: give the low bits instead of saturating.
    out_valid : Out(1)
    out : Out(act_bits), signed if activations are
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        act = signed(config.act_bits) if config.act_signed else config.act_bits
        super().__init__(
            {
                "valid": In(1),
                "sum": In(signed(config.acc_bits)),
                "channel": In(CHANNEL),
                "zero_point": In(act),
                "low": In(act),
                "high": In(act),
                "wrap": In(1),
                "out_valid": Out(1),
                "out": Out(act),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(signed(32), reset_less=True)
        multiplier = Signal(MULTIPLIER_BITS, reset_less=True)
        shift = self._delayed(m, self.channel.shift, 2)
        m.d.sync += [
            total.eq(self.sum + self.channel.bias),
            multiplier.eq(self.channel.multiplier),
        ]
        product = Signal(signed(32 + MULTIPLIER_BITS), reset_less=True)
        m.d.sync += product.eq(total * multiplier)
        # one bit less first, so that the bit that decides the rounding is the lowest
        halves = Signal(signed(32 + MULTIPLIER_BITS))
        rounded = Signal(signed(32 + MULTIPLIER_BITS), reset_less=True)
        m.d.comb += halves.eq(product >> (shift - 1).as_unsigned()[:6])
        m.d.sync += rounded.eq((halves + 1) >> 1)
        moved = rounded + self.zero_point
        clamped = Mux(moved < self.low, self.low, Mux(moved > self.high, self.high, moved))
        m.d.sync += self.out.eq(Mux(self.wrap, moved[: len(self.out)], clamped))
        m.d.comb += self.out_valid.eq(self._delayed(m, self.valid, LATENCY))
        return m

    @staticmethod
    def _delayed(m: Module, value: Value, cycles: int) -> Value:
        for _ in range(cycles):
            register = Signal(len(value))
            m.d.sync += register.eq(value)
            value = register
        return value
