"""AXI4-Stream register slice."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from hw.component import Component


class StreamSlice(Component):
    """Two beats deep, so that no path leads through it either way; full rate, latency one cycle.

    What it gives obeys AXI4-Stream (ARM IHI 0051) whatever it takes: valid stays until ready, and
    the payload with it.

    Parameters
    ----------
    data_bits : int
        Width of a beat, a multiple of 8.

    Members
    -------
    in_valid, in_data, in_last : In(1), In(data_bits), In(1)
    in_ready : Out(1)
    out_valid, out_data, out_last : Out(1), Out(data_bits), Out(1)
    out_ready : In(1)
    """

    def __init__(self, data_bits: int) -> None:
        super().__init__(
            {
                "in_valid": In(1),
                "in_ready": Out(1),
                "in_data": In(data_bits),
                "in_last": In(1),
                "out_valid": Out(1),
                "out_ready": In(1),
                "out_data": Out(data_bits),
                "out_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arriving = Cat(self.in_data, self.in_last)
        leaving = Signal(len(arriving), reset_less=True)
        spare = Signal(len(arriving), reset_less=True)
        spare_full = Signal()
        m.d.comb += [
            self.in_ready.eq(~spare_full),
            Cat(self.out_data, self.out_last).eq(leaving),
        ]
        with m.If(~self.out_valid | self.out_ready):
            m.d.sync += [
                leaving.eq(Mux(spare_full, spare, arriving)),
                self.out_valid.eq(spare_full | self.in_valid),
                spare_full.eq(0),
            ]
        with m.Elif(self.in_valid & ~spare_full):
            m.d.sync += [spare.eq(arriving), spare_full.eq(1)]
        return m
