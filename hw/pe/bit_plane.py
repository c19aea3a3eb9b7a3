"""Bit-plane-serial dot product: `lanes` activations and one bit of `lanes` weights a cycle.

The top bit of a weight counts negative. A PE complements the whole tree sum then, which is too
large by a constant, and the weight edge takes that constant off the results, as it does for Booth
digits (ADR 0002): no sign bits, and sums that only grow.
"""

from amaranth import Module, Mux, Signal, Value

from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.pipeline import lane_sum, summand, weighed
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, PESignature, Record


def sum_bits(config: ArrayConfig) -> int:
    """Bits of the tree sum of all lanes."""
    return (config.lanes * ((1 << config.act_bits) - 1)).bit_length()


def excess(config: ArrayConfig, *, top: bool) -> int:
    """Excess of a step's sum, complemented in the `top` plane, over the true one."""
    offset = config.lanes << (config.act_bits - 1) if config.act_signed else 0
    return (1 << sum_bits(config)) - 1 - offset if top else offset


class BitPlanePE(Component):
    """One bit of `lanes` weights times `lanes` activations a cycle.

    Latency from operands at the edge registers' inputs to the sum in the accumulator is 2 edges
    and one for each pipeline register; by default 4: edge registers (outside), group sums, shifted
    sum, accumulator. Throughput is one step a cycle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        products = bit_products(m, config, self.act, list(self.weight), name="product")
        width = sum_bits(config)
        total = lane_sum(m, products, config)[:width] ^ self.control.top.replicate(width)
        accumulate(
            m,
            config=config,
            addend=summand(m, weighed(total, self.control.shift, digit_bits=1), config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m


def bit_products(
    m: Module, config: ArrayConfig, act: Lines, bits: list[Value], *, name: str
) -> list[Value]:
    """Activations times one bit each, unsigned.

    Signed activations have their sign bit flipped, which makes each product too large by
    ``2**(act_bits - 1)``.
    """
    width = config.act_bits
    sign_offset = (1 << (width - 1)) if config.act_signed else 0
    products: list[Value] = []
    for lane, bit in enumerate(bits):
        product = Signal(width, name=f"{name}_{lane}")
        m.d.comb += product.eq((act[lane].as_unsigned() & bit.replicate(width)) ^ sign_offset)
        products.append(product)
    return products


class BitRecoder(Recoder):
    """One bit of each weight a step, lowest first, as it comes."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Signal(self.config.lanes, reset_less=True)
        with m.If(self.step):
            m.d.sync += bits.eq(self.word.as_value())
        m.d.comb += self.out.eq(bits)
        return m


def column_excess(
    m: Module,
    config: ArrayConfig,
    digits: Lines,
    control: Record,
) -> Value:
    """Excess of a step of a column's PEs, weighed as they weigh their sums."""
    amount = Signal(sum_bits(config))
    m.d.comb += amount.eq(Mux(control.top, excess(config, top=True), excess(config, top=False)))
    return weighed(amount, control.shift, digit_bits=1)
