"""Booth-digit-serial dot product: `lanes` digit products, one tree, one shifter, one accumulator.

A lane turns a digit into ``(|digit| * act) ^ negative``, the one's complement of negative
products, as an *unsigned* number: no sign bits and no ``+ 1`` in the tree, and sums that only grow,
so that their upper bits rarely toggle. The excess, ``2**(act_bits + 1) - 1`` per negative digit,
depends on the weights alone; the weight edge sums it once per column and takes it off the results
(ADR 0002).
"""

from amaranth import Cat, Module, Shape, Signal, Value

from hw.booth import tree_sum
from hw.component import Component
from hw.config import ArrayConfig
from hw.pe.accumulator import accumulate
from hw.pe.signature import PESignature
from hw.precision import WeightMode


def excess(config: ArrayConfig, negatives: int) -> int:
    """Excess of a step's tree sum over the true sum of products.

    Parameters
    ----------
    config : ArrayConfig
        The array.
    negatives : int
        Lanes whose digit is negative, 0 to `lanes`.
    """
    if config.act_signed:
        return (config.lanes << config.act_bits) - negatives
    return ((1 << (config.act_bits + 1)) - 1) * negatives


class BoothDigitPE(Component):
    """One digit of `lanes` weights times `lanes` activations a cycle.

    Latency is 4 edges from operands at the edge registers' inputs to the sum in the accumulator:
    edge registers (outside), group sums, shifted sum, accumulator. Throughput is one step a cycle.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        products = [self._product(m, lane) for lane in range(config.lanes)]
        sums: list[Value] = []
        for first in range(0, config.lanes, config.group):
            total = tree_sum(products[first : first + config.group])
            group_sum = Signal(total.shape(), name=f"group_sum_{len(sums)}", reset_less=True)
            m.d.sync += group_sum.eq(total)
            sums.append(group_sum)
        total = tree_sum(sums)
        width = len(total) + 2 * (WeightMode.W8.digits - 1)
        shifted: Value = Cat()
        for digit in range(WeightMode.W8.digits):
            select = self.control.shift[digit].replicate(width)
            shifted = shifted | ((total << (2 * digit))[:width] & select)
        addend = Signal(width, reset_less=True)
        m.d.sync += addend.eq(shifted)
        accumulate(
            m,
            config=config,
            addend=addend,
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m

    def _product(self, m: Module, lane: int) -> Value:
        """Product of a lane as an unsigned number; see `excess`."""
        config = self.config
        act, digit = self.act[lane], self.weight[lane]
        width = config.act_bits + 1
        extended = Signal(Shape(width, config.act_signed), name=f"act_{lane}")
        product = Signal(width, name=f"product_{lane}")
        single, double = extended.as_unsigned(), (act << 1).as_unsigned()[:width]
        magnitude = (single & digit.one.replicate(width)) | (double & digit.two.replicate(width))
        sign_offset = (1 << config.act_bits) if config.act_signed else 0
        m.d.comb += [
            extended.eq(act),
            product.eq(magnitude ^ digit.neg.replicate(width) ^ sign_offset),
        ]
        return product
