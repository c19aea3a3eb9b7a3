"""Recoders alone: what comes out of them, over the steps of a weight, is the weight."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.booth import DigitRecoder
from hw.config import ArrayConfig
from hw.pe.shift_add import MoveRecoder
from hw.precision import WeightMode
from sim.formal.harness import Harness, claim, given


class BoothDigits(Harness):
    """Four digit recoders in a row; the digits of each mode add up to its weights."""

    def __init__(self) -> None:
        super().__init__({"weight": In(signed(WeightMode.W8.bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total: Value = Signal(signed(1))
        below: Value = Signal()
        for mode in WeightMode:
            d = mode.digits - 1
            m.submodules[f"dut_{d}"] = dut = DigitRecoder()
            pair = self.weight[2 * d : 2 * d + 2]
            m.d.comb += [dut.pair.eq(pair), dut.below.eq(below)]
            one, two, neg = dut.digit.one, dut.digit.two, dut.digit.neg
            magnitude = one + (two << 1)
            total = total + (Mux(neg, -magnitude, magnitude) << (2 * d))
            below = pair[1]
            m.d.comb += [
                claim(total == self.weight[: mode.bits].as_signed()),
                claim(~(one & two)),
                claim(~neg | one | two),
            ]
        return m


class ShiftAddMoves(Harness):
    """The moves that a recoder makes of any weight, back to back, add up to the weight.

    Parameters
    ----------
    config : ArrayConfig
        A serial shift-add array; its `max_shift` counts.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__({"weight": In(signed(WeightMode.W8.bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = MoveRecoder(self.config)
        first, held = Signal(init=1), Signal(signed(WeightMode.W8.bits))
        m.d.comb += [
            given(~ResetSignal()),
            dut.step.eq(1),
            dut.first.eq(first),
            dut.last.eq(~dut.left),
            dut.word[0].eq(self.weight),
        ]
        finished = Signal()
        m.d.sync += [first.eq(~dut.left), finished.eq(~dut.left)]
        with m.If(first):
            m.d.sync += held.eq(self.weight)
        move = dut.out[0]
        position, total = Signal(4), Signal(signed(10))
        here, so_far, shift = Signal(4), Signal(signed(10)), Signal(3)
        for i in range(self.config.max_shift + 1):
            with m.If(move.shift[i]):
                m.d.comb += shift.eq(i)
        digit = Mux(move.add, Mux(move.neg, -1, 1), 0)
        m.d.comb += [
            here.eq(Mux(move.load, 0, position) + shift),
            so_far.eq(Mux(move.load, 0, total) + (digit << here)),
            claim(~move.neg | move.add),
        ]
        m.d.sync += [position.eq(here), total.eq(so_far)]
        with m.If(finished):
            m.d.comb += claim(so_far == held)
        return m
