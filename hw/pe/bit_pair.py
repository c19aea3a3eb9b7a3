"""Bit-pair-serial dot product: `lanes` activations and two bits of `lanes` weights a cycle.

Each bit of the pair has a tree of its own, and the upper one's sum counts twice. The top bit of a
weight counts negative: the PE complements the upper tree's whole sum then, which is too large by a
constant, and the weight edge takes that constant off the results (ADR 0002). Twice the adders of a
Booth digit's tree, but nothing is negative before the sum: a zero activation is silent whatever
the weight, a zero weight whatever the activation, and there is no recoder. Ours.
"""

from amaranth import Module, Mux, Signal, Value

from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.bit_plane import bit_products, sum_bits
from hw.pe.pipeline import lane_sum, summand, weighed
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, PESignature, Record


def excess(config: ArrayConfig, *, top: bool) -> int:
    """Excess of a step's sum, its upper half complemented in the `top` pair, over the true one."""
    offset = config.lanes << (config.act_bits - 1) if config.act_signed else 0
    return 2 * ((1 << sum_bits(config)) - 1) - offset if top else 3 * offset


class BitPairPE(Component):
    """Two bits of `lanes` weights times `lanes` activations a cycle.

    Latency from operands at the edge registers' inputs to the sum in the accumulator is 2 edges
    and one for each pipeline register; by default 4: edge registers (outside), group sums, shifted
    sum, accumulator. Throughput is one step a cycle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, width = self.config, sum_bits(self.config)
        low, high = (
            lane_sum(
                m,
                bit_products(
                    m, config, self.act, [pair[bit] for pair in self.weight], name=f"{name}_product"
                ),
                config,
                name=name,
            )[:width]
            for bit, name in enumerate(("low", "high"))
        )
        total = low + ((high ^ self.control.top.replicate(width)) << 1)
        accumulate(
            m,
            config=config,
            addend=summand(m, weighed(total, self.control.shift, digit_bits=2), config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m


class PairRecoder(Recoder):
    """Two bits of each weight a step, lowest first, as they come."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pairs = Signal(self.out.shape(), reset_less=True)
        with m.If(self.step):
            m.d.sync += pairs.eq(self.word.as_value())
        m.d.comb += self.out.eq(pairs)
        return m


def column_excess(
    m: Module,
    config: ArrayConfig,
    digits: Lines,
    control: Record,
) -> Value:
    """Excess of a step of a column's PEs, weighed as they weigh their sums."""
    amount = Signal(sum_bits(config) + 2)
    m.d.comb += amount.eq(Mux(control.top, excess(config, top=True), excess(config, top=False)))
    return weighed(amount, control.shift, digit_bits=2)
