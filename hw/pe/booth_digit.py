"""Booth-digit-serial dot product: `lanes` digit products, one tree, one shifter, one accumulator.

A lane turns a digit into ``(|digit| * act) ^ negative``, the one's complement of negative
products, as an *unsigned* number: no sign bits and no ``+ 1`` in the tree, and sums that only grow,
so that their upper bits rarely toggle. The excess, ``2**(act_bits + 1) - 1`` per negative digit,
depends on the weights alone; the weight edge sums it once per column and takes it off the results
(ADR 0002).
"""

from amaranth import Module, Shape, Signal, Value
from amaranth.lib import data

from hw.booth import DigitRecoder, tree_sum
from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.pipeline import delayed, lane_sum, summand, weighed
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, PESignature, Record, weight_layout


def excess(config: ArrayConfig, negatives: int, *, lanes: int | None = None) -> int:
    """Excess of a step's tree sum over the true sum of products.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    negatives : int
        Lanes whose digit is negative, 0 to `lanes`.
    lanes : int, optional
        Lanes of the tree; all of a PE if None.
    """
    if config.act_signed:
        return ((config.lanes if lanes is None else lanes) << config.act_bits) - negatives
    return ((1 << (config.act_bits + 1)) - 1) * negatives


class BoothDigitPE(Component):
    """One digit of `lanes` weights times `lanes` activations a cycle.

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
        products = booth_products(m, config, act=self.act, digits=self.weight)
        total = lane_sum(m, products, config)
        accumulate(
            m,
            config=config,
            addend=summand(m, weighed(total, self.control.shift, digit_bits=2), config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m


def booth_products(
    m: Module,
    config: ArrayConfig,
    *,
    act: Lines,
    digits: Lines,
) -> list[Value]:
    """Products of all lanes as unsigned numbers; see `excess`."""
    width = config.act_bits + 1
    sign_offset = (1 << config.act_bits) if config.act_signed else 0
    products: list[Value] = []
    for lane in range(config.lanes):
        digit = digits[lane]
        extended = Signal(Shape(width, config.act_signed), name=f"act_{lane}")
        product = Signal(width, name=f"product_{lane}")
        single, double = extended.as_unsigned(), (act[lane] << 1).as_unsigned()[:width]
        magnitude = (single & digit.one.replicate(width)) | (double & digit.two.replicate(width))
        m.d.comb += [
            extended.eq(act[lane]),
            product.eq(magnitude ^ digit.neg.replicate(width) ^ sign_offset),
        ]
        products.append(product)
    return products


class BoothRecoder(Recoder):
    """Two bits of each weight a step, lowest first, to Booth digits."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        layout = weight_layout(config)
        digits = data.View(layout, Signal(layout.size, name="digits", reset_less=True))
        below = Signal(config.lanes, reset_less=True)
        for lane in range(config.lanes):
            m.submodules[f"recoder_{lane}"] = recoder = DigitRecoder()
            m.d.comb += [
                recoder.pair.eq(self.word[lane]),
                recoder.below.eq(below[lane] & ~self.first),
            ]
            with m.If(self.step):
                m.d.sync += [digits[lane].eq(recoder.digit), below[lane].eq(self.word[lane][1])]
        m.d.comb += self.out.eq(digits)
        return m


def counted_excess(m: Module, config: ArrayConfig, digits: list[Record], *, name: str) -> Value:
    """Excess of a step's tree sum, in step with the tree: at the PEs' shifter."""
    count, lanes = tree_sum([digit.neg for digit in digits]), len(digits)
    negatives = delayed(m, count, config.registers_before_shift, name=name)
    if config.act_signed:
        amount = excess(config, 0, lanes=lanes) - negatives
    else:
        amount = (negatives << (config.act_bits + 1)) - negatives
    most = max(excess(config, n, lanes=lanes) for n in (0, lanes))
    return amount.as_unsigned()[: most.bit_length()]


def column_excess(
    m: Module,
    config: ArrayConfig,
    digits: Lines,
    control: Record,
) -> Value:
    """Excess of a step of a column's PEs, weighed as they weigh their sums."""
    amount = counted_excess(m, config, list(digits), name="negatives")
    return weighed(amount, control.shift, digit_bits=2)
