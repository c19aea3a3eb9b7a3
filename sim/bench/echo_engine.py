"""An engine that echoes packets: what the registers' bench puts in the place of the real one."""

from amaranth import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.accelerator_config import AcceleratorConfig
from hw.component import Component

LAST = 0x10
"""In a packet's first byte: the run ends with this layer; the low four bits are its error."""


class EchoEngine(Component):
    """Gives back every beat as it is; a beat is a step, its lowest three bits were skipped.

    A packet whose first byte has an error is swallowed and ends the run; the tag is its number.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        bits = 8 * config.bus_bytes
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "error": Out(4),
                "error_tag": Out(16),
                "layers": Out(16),
                "stepping": Out(1),
                "stalled": Out(1),
                "skipped": Out(3),
                "in_valid": In(1),
                "in_ready": Out(1),
                "in_data": In(bits),
                "in_last": In(1),
                "out_valid": Out(1),
                "out_ready": In(1),
                "out_data": Out(bits),
                "out_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build it."""
        m = Module()
        loaded, final = Signal(), Signal()
        taken = self.in_valid & self.in_ready
        bad = Signal()
        m.d.comb += [
            bad.eq((self.error != 0) | (~loaded & (self.in_data[:4] != 0))),
            self.in_ready.eq(self.busy & (self.out_ready | bad)),
            self.out_valid.eq(self.busy & self.in_valid & ~bad),
            self.out_data.eq(self.in_data),
            self.out_last.eq(self.in_last),
            self.stepping.eq(taken & ~bad),
            self.stalled.eq(loaded & ~self.stepping),
        ]
        with m.If(self.stepping):
            m.d.comb += self.skipped.eq(self.in_data[:3])
        m.d.sync += self.done.eq(0)
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), self.error.eq(0), self.layers.eq(0), loaded.eq(0)]
        with m.If(taken):
            ends = final | ~loaded & self.in_data[4]
            m.d.sync += [loaded.eq(~self.in_last), final.eq(ends & ~self.in_last)]
            with m.If(bad & (self.error == 0)):
                m.d.sync += [self.error.eq(self.in_data[:4]), self.error_tag.eq(self.layers)]
            with m.If(self.in_last):
                m.d.sync += self.layers.eq(self.layers + ~bad)
                with m.If(ends | bad):
                    m.d.sync += [self.busy.eq(0), self.done.eq(1)]
        return m
