"""Radix-4-digit-serial dot product: digits 0 to 3 of offset weights, triples from the row's edge.

A weight plus ``2**(bits - 1)`` is unsigned, its radix-4 digits are its pairs of bits, and a lane
selects 0, 1, 2 or 3 times its activation. Nothing is negative, and a zero activation is silent.
What the offsets add is ``2**(bits - 1)`` times the sum of the row's activations: the activation
edge sums it once for all columns (`RowExcess`), and the array takes it off where results leave.
Ours.
"""

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig, Stage
from hw.pe.accumulator import accumulate
from hw.pe.pipeline import delayed, group_sum, lane_sum, summand, weighed
from hw.pe.recoder import Recoder
from hw.pe.signature import Lines, PESignature, act_lines, control_layout, weight_layout


class Radix4DigitPE(Component):
    """One digit of `lanes` offset weights times `lanes` activations a cycle.

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
        width = config.act_bits + 2
        products: list[Value] = []
        for lane in range(config.lanes):
            act, digit = self.act[lane], self.weight[lane]
            product = Signal(width, name=f"product_{lane}")
            m.d.comb += product.eq(
                (act.single & digit.one.replicate(width))
                | (act.single << 1 & digit.two.replicate(width))
                | (act.triple & digit.three.replicate(width))
            )
            products.append(product)
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


class PlainRecoder(Recoder):
    """Two bits of each weight a step, lowest first, the top bit of the weight flipped."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout = weight_layout(self.config)
        digits = data.View(layout, Signal(layout.size, name="digits", reset_less=True))
        for lane in range(self.config.lanes):
            low, high = self.word[lane][0], self.word[lane][1] ^ self.last
            with m.If(self.step):
                m.d.sync += [
                    digits[lane].one.eq(low & ~high),
                    digits[lane].two.eq(high & ~low),
                    digits[lane].three.eq(high & low),
                ]
        m.d.comb += self.out.eq(digits)
        return m


def tripled(config: ArrayConfig, act: Lines, mode: Value) -> list[Value]:
    """Activations and their triples, lane by lane."""
    return [Cat(act[lane], act[lane] + (act[lane] << 1)) for lane in range(config.lanes)]


class RowExcess(Component):
    """What the weights' offsets add to each result of a row, leaving in step with the results.

    Members
    -------
    act : In(act_lines(config))
        Of the row, as its PEs see them.
    control : In(control_layout(config))
        As the PEs see it.
    chain_in, chain_out : In(acc_bits), Out(acc_bits)
        Excesses on their way to the end of the rows, beside the columns' results.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(
            {
                "act": In(act_lines(config)),
                "control": In(control_layout(config)),
                "chain_in": In(config.acc_bits),
                "chain_out": Out(config.acc_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        singles = [self.act[lane].single for lane in range(config.lanes)]
        total = group_sum(m, singles, config, name="act")
        total = delayed(m, total, int(Stage.PRODUCT in config.stages), name="total")
        # half the offset of a weight is the weight of its top digit, 4**(digits - 1)
        shift = self.control.shift & self.control.top.replicate(len(self.control.shift))
        doubled = weighed(total, shift, digit_bits=2) << 1
        accumulate(
            m,
            config=config,
            addend=summand(m, doubled, config),
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m
