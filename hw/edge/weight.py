"""The edge at which weights enter a column and its results leave."""

from amaranth import Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.edge.control import registered
from hw.pe import GATEWARE
from hw.pe.pipeline import summand
from hw.pe.signature import control_layout, weight_layout, weight_word


class WeightEdge(Component):
    """Weights of a column: recoder and register on the way in, correction on the way out.

    Members
    -------
    step : In(1)
        A step happens: take `word`, or go on with what is left of it.
    first, last : In(1)
        It is the first, or the last, of its chunk.
    mode : In(2)
        Digits of the tile's weights, less one.
    word : In(weight_word(config))
        From memory.
    out : Out(weight_layout(config))
        To the PEs, one cycle after `step`.
    left : Out(1)
        The column has digits left after this step; only where the kind skips zeros.
    control : In(control_layout(config))
        One cycle before the PEs need it.
    chain : In(acc_bits), drain_rows of them
        Results as they leave the column.
    row_excess : In(acc_bits), drain_rows of them
        By how much they exceed the true sums for their rows' sake; only of kinds that have it.
    psum : Out(signed(acc_bits)), drain_rows of them
        The true sums, combinational from `chain`.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        chain = data.ArrayLayout(config.acc_bits, config.drain_rows)
        members = {
            "step": In(1),
            "first": In(1),
            "last": In(1),
            "mode": In(2),
            "word": In(weight_word(config)),
            "out": Out(weight_layout(config)),
            "control": In(control_layout(config)),
            "chain": In(chain),
            "psum": Out(data.ArrayLayout(signed(config.acc_bits), config.drain_rows)),
        }
        if config.pe.traits.skips_zeros:
            members["left"] = Out(1)
        if GATEWARE[config.pe].row_excess:
            members["row_excess"] = In(chain)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, gateware = self.config, GATEWARE[self.config.pe]
        m.submodules.recoder = recoder = gateware.recoder(config)
        m.d.comb += [
            recoder.step.eq(self.step),
            recoder.first.eq(self.first),
            recoder.last.eq(self.last),
            recoder.mode.eq(self.mode),
            recoder.word.eq(self.word),
            self.out.eq(recoder.out),
        ]
        if config.pe.traits.skips_zeros:
            m.d.comb += self.left.eq(recoder.left)
        column_excess = self._column_excess(m) if gateware.column_excess else None
        for index in range(config.drain_rows):
            psum = self.chain[index]
            if column_excess is not None:
                psum = psum - column_excess
            if gateware.row_excess:
                psum = psum - self.row_excess[index]
            m.d.comb += self.psum[index].eq(psum)
        return m

    def _column_excess(self, m: Module) -> Value:
        """Excess of the column's results, summed in step with the PEs' pipeline."""
        config = self.config
        control = registered(m, config, self.control)
        gather = GATEWARE[config.pe].column_excess
        assert gather is not None
        addend = summand(m, gather(m, config, self.out, control), config)
        total = Signal(config.acc_bits, reset_less=True)
        m.d.sync += total.eq(Mux(control.clear, 0, total) + addend)
        if not config.double_buffered:
            return total
        held = Signal(config.acc_bits, reset_less=True)
        with m.If(control.capture):
            m.d.sync += held.eq(total)
        return held
