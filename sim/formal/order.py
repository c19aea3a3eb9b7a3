"""The order checker on a FIFO: that it passes what is right; its test shows what it refuses."""

from __future__ import annotations

from amaranth import Module
from amaranth.hdl import ResetSignal
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In

from sim.formal.harness import Harness, given
from sim.formal.streams import OrderChecker


class FifoOrder(Harness):
    """A FIFO with free writer and reader."""

    def __init__(self) -> None:
        super().__init__({"item": In(4), "offer": In(1), "accept": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = SyncFIFOBuffered(width=4, depth=2)
        m.submodules.checker = checker = OrderChecker(4)
        m.d.comb += [
            given(~ResetSignal()),
            dut.w_data.eq(self.item),
            dut.w_en.eq(self.offer),
            dut.r_en.eq(self.accept),
            checker.put.eq(dut.w_en & dut.w_rdy),
            checker.put_item.eq(dut.w_data),
            checker.get.eq(dut.r_en & dut.r_rdy),
            checker.get_item.eq(dut.r_data),
        ]
        return m
