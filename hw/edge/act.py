"""The edge at which activations enter a row."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from hw.component import Component
from hw.config import ArrayConfig
from hw.edge.control import registered
from hw.pe import GATEWARE
from hw.pe.signature import act_layout, act_lines, control_layout


class ActEdge(Component):
    """Activations of a row, loaded with the first digit of a chunk and held for the others.

    The row's copy of the control is registered here, too, so that no wire spans the array.

    Members
    -------
    load : In(1)
    mode : In(2)
        Digits of the tile's weights, less one.
    act : In(act_layout(config))
    out : Out(act_lines(config))
        One cycle after `load`.
    control : In(control_layout(config))
        One cycle before the PEs need it.
    control_out : Out(control_layout(config))
        To the PEs of the row.
    chain_in, chain_out : In(acc_bits), Out(acc_bits)
        Excesses of rows, leaving beside the columns' results; only of kinds that have them.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        control = control_layout(config)
        members = {
            "load": In(1),
            "mode": In(2),
            "act": In(act_layout(config)),
            "out": Out(act_lines(config)),
            "control": In(control),
            "control_out": Out(control),
        }
        if GATEWARE[config.pe].row_excess:
            members |= {"chain_in": In(config.acc_bits), "chain_out": Out(config.acc_bits)}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, gateware = self.config, GATEWARE[self.config.pe]
        layout = act_lines(config)
        held = data.View(layout, Signal(layout.size, name="held", reset_less=True))
        lines = self.act.as_value()
        if gateware.act_lines:
            lines = Cat(*gateware.act_lines(config, self.act, self.mode))
        with m.If(self.load):
            m.d.sync += held.as_value().eq(lines)
        control = registered(m, config, self.control)
        m.d.comb += [self.out.eq(held), self.control_out.eq(control)]
        if gateware.row_excess:
            m.submodules.excess = excess = gateware.row_excess(config)
            m.d.comb += [
                excess.act.eq(held),
                excess.control.eq(control),
                excess.chain_in.eq(self.chain_in),
                self.chain_out.eq(excess.chain_out),
            ]
        return m
