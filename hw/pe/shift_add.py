"""Serial shift-add MAC: the SigmaQuant paper's, with runs of zero digits skipped.

The weight edge finds the canonical signed digits of a weight once for its column. A PE holds its
activation, shifts it from one nonzero digit to the next, and adds it to a private accumulator or
subtracts it, once a cycle; `hw.csd.shift_add_moves` has the cycles.
"""

from amaranth import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import data

from hw.component import Component
from hw.config import ArrayConfig, Stage
from hw.csd import MAX_SHIFT
from hw.pe.accumulator import accumulate
from hw.pe.pipeline import delayed, either
from hw.pe.recoder import Recoder
from hw.pe.signature import PESignature, weight_layout
from hw.precision import WeightMode


class ShiftAddPE(Component):
    """One nonzero digit of a weight a cycle, or one shift by `max_shift` in a longer run of zeros.

    Latency from operands at the edge registers' inputs to the sum in the accumulator is 3 edges
    (edge registers outside, shifted activation, accumulator), 2 without the register
    `Stage.PRODUCT`, which here is the one that holds the shifted activation anyway.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(PESignature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        width = config.act_bits + MAX_SHIFT
        move = self.weight[0]
        act = Signal(Shape(width, config.act_signed))
        start, moved, held = Signal(width), Signal(width), Signal(width, reset_less=True)
        m.d.comb += [act.eq(self.act[0]), start.eq(Mux(move.load, act, held))]
        ways = [
            (start << i)[:width] & move.shift[i].replicate(width)
            for i in range(config.max_shift + 1)
        ]
        m.d.comb += moved.eq(either(ways))
        m.d.sync += held.eq(moved)
        registered = Stage.PRODUCT in config.stages
        shifted = held if registered else moved
        add = delayed(m, move.add, int(registered), name="add")
        neg = delayed(m, move.neg, int(registered), name="neg")
        extended = shifted if config.act_signed else Cat(shifted, Const(0, 1))
        addend = (extended ^ neg.replicate(len(extended))) & add.replicate(len(extended))
        accumulate(
            m,
            config=config,
            addend=addend.as_signed(),
            carry=neg,
            control=self.control,
            chain_in=self.chain_in,
            chain_out=self.chain_out,
        )
        return m


class MoveRecoder(Recoder):
    """A whole weight to the moves of its column, one a step; digits that are left stay here.

    `neg` comes with `add` only; without a step the PEs hold what they have.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, bits = self.config, WeightMode.W8.bits
        weight = self.word[0]
        nonzero, negative, carry = Signal(bits), Signal(bits), Signal(bits + 1)
        for i in range(bits):
            above = weight[min(i + 1, bits - 1)]
            m.d.comb += [
                nonzero[i].eq(weight[i] ^ carry[i]),
                negative[i].eq(above),
                carry[i + 1].eq((weight[i] & carry[i]) | (above & (weight[i] | carry[i]))),
            ]
        # digits from the present position on: those of the word, or those that are left of it
        rest, rest_negative = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        here, here_negative = Signal(bits), Signal(bits)
        m.d.comb += [
            here.eq(Mux(self.first, nonzero, rest)),
            here_negative.eq(Mux(self.first, negative, rest_negative)),
        ]
        reach = config.max_shift + 1
        shift = Signal(reach)
        none = Signal()
        m.d.comb += none.eq(~here.any())
        for i in range(reach):
            chosen = here[i] & ~here[:i].any() if i else here[0] | none
            if i == config.max_shift:
                chosen = ~here[:i].any() & ~none
            m.d.comb += shift[i].eq(chosen)
        add = here[:reach].any()
        after = either([(here >> i)[1:] & shift[i].replicate(bits - 1) for i in range(reach)])
        m.d.comb += self.left.eq(after.any())
        signs = either([(here_negative >> i) & shift[i].replicate(bits) for i in range(reach)])
        layout = weight_layout(config)
        moves = data.View(layout, Signal(layout.size, name="moves", reset_less=True))
        m.d.sync += [
            moves[0].load.eq(self.step & self.first),
            moves[0].shift.eq(Mux(self.step, shift, 1)),
            moves[0].add.eq(self.step & add),
            moves[0].neg.eq(self.step & add & signs[0]),
        ]
        with m.If(self.step):
            m.d.sync += [rest.eq(Cat(Const(0, 1), after)), rest_negative.eq(signs)]
        m.d.comb += self.out.eq(moves)
        return m
