"""The AXI4-Stream register slice loses, repeats and reorders nothing, and keeps what it offers."""

from __future__ import annotations

from amaranth import Cat, Module
from amaranth.hdl import ResetSignal
from amaranth.lib import stream
from amaranth.lib.wiring import In

from hw.axi_stream import StreamSlice
from sim.formal.harness import Harness, claim, given
from sim.formal.streams import OrderChecker, keep_offer


class SliceOrder(Harness):
    """A slice with free sides; its source need not even keep its offers.

    Parameters
    ----------
    data_bits : int
        Width of a beat.
    """

    def __init__(self, data_bits: int) -> None:
        self.data_bits = data_bits
        super().__init__(
            {"valid": In(1), "data": In(data_bits), "last": In(1), "ready": In(1)},
            probes={"spare": ("dut.spare", data_bits + 1), "spare_full": ("dut.spare_full", 1)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = StreamSlice(self.data_bits)
        m.submodules.checker = checker = OrderChecker(self.data_bits + 1, count_bits=16)
        leaving = Cat(dut.out_data, dut.out_last)
        out = stream.Signature(self.data_bits + 1).create(path=("out",))
        m.d.comb += [
            given(~ResetSignal()),
            dut.in_valid.eq(self.valid),
            dut.in_data.eq(self.data),
            dut.in_last.eq(self.last),
            dut.out_ready.eq(self.ready),
            checker.put.eq(self.valid & dut.in_ready),
            checker.put_item.eq(Cat(self.data, self.last)),
            checker.get.eq(dut.out_valid & self.ready),
            checker.get_item.eq(leaving),
            out.valid.eq(dut.out_valid),
            out.ready.eq(self.ready),
            out.payload.eq(leaving),
        ]
        keep_offer(m, out, name="out", assume=False)
        # where the beats are
        first, second = checker.chosen == checker.gets, checker.chosen == checker.gets + 1
        m.d.comb += [
            claim(checker.puts == checker.gets + dut.out_valid + self.spare_full),
            claim(dut.out_valid | ~self.spare_full),
            claim(~(dut.out_valid & first) | (leaving == checker.noted)),
            claim(~(self.spare_full & second) | (self.spare == checker.noted)),
            claim(dut.in_ready | self.spare_full),
        ]
        return m
