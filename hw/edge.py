"""Operand registers at the array's edges: shared by a whole row or column of PEs."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.booth import DigitRecoder, tree_sum
from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.pe.booth_digit import excess
from hw.pe.signature import CONTROL, act_layout, weight_layout
from hw.precision import WeightMode


def weight_word(config: ArrayConfig) -> data.ArrayLayout:
    """Weights of one step as they lie in memory: two bits of a digit, or a whole weight, a lane."""
    return data.ArrayLayout(config.weight_field_bits, config.lanes)


class ActEdge(Component):
    """Activations of a row, loaded with the first digit of a chunk and held for the others.

    The row's copy of the control is registered here, too, so that no wire spans the array.

    Members
    -------
    load : In(1)
    act : In(act_layout(config))
    out : Out(act_layout(config))
        One cycle after `load`.
    control : In(CONTROL)
        One cycle before the PEs need it.
    control_out : Out(CONTROL)
        To the PEs of the row.
    """

    def __init__(self, config: ArrayConfig) -> None:
        layout = act_layout(config)
        super().__init__(
            {
                "load": In(1),
                "act": In(layout),
                "out": Out(layout),
                "control": In(CONTROL),
                "control_out": Out(CONTROL),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(self.act.shape(), reset_less=True)
        with m.If(self.load):
            m.d.sync += held.eq(self.act)
        m.d.comb += [self.out.eq(held), self.control_out.eq(_registered(m, self.control))]
        return m


class WeightEdge(Component):
    """Weights of a column: recoder and register on the way in, correction on the way out.

    Members
    -------
    step : In(1)
        Take `word`.
    first : In(1)
        `word` holds the lowest digits.
    word : In(weight_word(config))
        From memory.
    out : Out(weight_layout(config))
        To the PEs, one cycle after `step`.
    control : In(CONTROL)
        One cycle before the PEs need it.
    chain : In(acc_bits), drain_rows of them
        Results as they leave the column.
    psum : Out(signed(acc_bits)), drain_rows of them
        The true sums, combinational from `chain`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        super().__init__(
            {
                "step": In(1),
                "first": In(1),
                "word": In(weight_word(config)),
                "out": Out(weight_layout(config)),
                "control": In(CONTROL),
                "chain": In(data.ArrayLayout(config.acc_bits, config.drain_rows)),
                "psum": Out(data.ArrayLayout(signed(config.acc_bits), config.drain_rows)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.config.pe is PEKind.INT8_MAC:
            # a cycle without a step must add nothing: its weight is 0
            weight = Signal(self.out.shape(), reset_less=True)
            m.d.sync += weight.eq(Mux(self.step, self.word.as_value(), 0))
            m.d.comb += [self.out.eq(weight), self.psum.eq(self.chain)]
            return m
        digits = self._recode(m)
        correction = self._correction(m, digits)
        m.d.comb += self.out.eq(digits)
        for index in range(self.config.drain_rows):
            m.d.comb += self.psum[index].eq(self.chain[index] - correction)
        return m

    def _recode(self, m: Module) -> "data.View[data.ArrayLayout]":
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
        return digits

    def _correction(self, m: Module, digits: "data.View[data.ArrayLayout]") -> Signal:
        """Excess of the column's results, summed in step with the PEs' pipeline."""
        config = self.config
        control = _registered(m, self.control)
        negatives = Signal(range(config.lanes + 1), reset_less=True)
        lanes = [digits[lane].neg for lane in range(config.lanes)]
        m.d.sync += negatives.eq(tree_sum(lanes))
        if config.act_signed:
            amount = excess(config, 0) - negatives
        else:
            amount = (negatives << (config.act_bits + 1)) - negatives
        width = max(excess(config, 0), excess(config, config.lanes)).bit_length()
        top = 2 * (WeightMode.W8.digits - 1)
        shifted = Signal(width + top)
        for digit in range(WeightMode.W8.digits):
            with m.If(control.shift[digit]):
                m.d.comb += shifted.eq(amount[:width] << (2 * digit))
        addend = Signal(width + top, reset_less=True)
        total = Signal(config.acc_bits, reset_less=True)
        m.d.sync += [
            addend.eq(shifted),
            total.eq(Mux(control.clear, 0, total) + addend),
        ]
        if not config.double_buffered:
            return total
        held = Signal(config.acc_bits, reset_less=True)
        with m.If(control.capture):
            m.d.sync += held.eq(total)
        return held


def _registered(
    m: Module, control: "data.View[data.StructLayout]"
) -> "data.View[data.StructLayout]":
    register = data.View(CONTROL, Signal(CONTROL.size, name="control_here"))
    m.d.sync += register.eq(control)
    return register
