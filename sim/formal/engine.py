"""The whole engine comes back to idle from small packets, right or wrong, in a bounded time.

Bounded, and with all parts together: what `sim.formal.loader`, `sim.formal.gather`,
`sim.formal.feeds` and `sim.formal.result_queue` take as given of each other is here as it is.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.accelerator_config import AcceleratorConfig
from hw.check import DESCRIPTOR
from hw.descriptor import FLAGS
from hw.engine import Engine
from sim.formal.harness import Harness, claim, given

FACTOR_BITS = 6
"""Bits of factors whose product is given."""


class EngineReturns(Harness):
    """An engine that gets one packet, without waiting, and whose results are taken at once.

    The packet is any within these limits. The check's multiplier is replaced by a narrow one.

    Parameters
    ----------
    config : AcceleratorConfig
        Very small.
    most : dict of str to int
        Largest values of fields of the descriptor; others are free.
    beats : int
        Most beats of a packet; it may end at any.
    cycles : int
        By when the run has ended.
    """

    def __init__(
        self, config: AcceleratorConfig, *, most: dict[str, int], beats: int, cycles: int
    ) -> None:
        self.config, self.most, self.beats, self.cycles = config, most, beats, cycles
        super().__init__(
            {"in_data": In(8 * config.bus_bytes), "in_last": In(1)},
            probes={
                "descriptor": ("dut.loader.descriptor", DESCRIPTOR),
                "step": ("dut.loader.check.step", 4),
                "left": ("dut.loader.check.left", 32),
                "right": ("dut.loader.check.right", 16),
                "product": ("dut.loader.check.product", 48),
            },
            cuts=("dut.loader.check.product",),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = Engine(self.config)
        time, beat = Signal(range(self.cycles + 2)), Signal(range(self.beats + 1))
        m.d.sync += time.eq(Mux(time > self.cycles, time, time + 1))
        m.d.comb += [
            given(~ResetSignal()),
            dut.start.eq(time == 0),
            dut.in_valid.eq(1),
            dut.in_data.eq(self.in_data),
            dut.in_last.eq(self.in_last),
            dut.out_ready.eq(1),
            given((beat != self.beats - 1) | self.in_last),
            claim((time <= self.cycles) | ~dut.busy),
        ]
        with m.If(dut.in_ready):
            m.d.sync += beat.eq(beat + 1)
        self._packet(m)
        self._product(m)
        return m

    def _packet(self, m: Module) -> None:
        """Limit the descriptor once it is there, which is while it is checked."""
        here: Value = self.step == 1
        for name, most in self.most.items():
            m.d.comb += given(~here | (self.descriptor[name] <= most))
        m.d.comb += given(~here | self.descriptor.flags[FLAGS.index("last")])

    def _product(self, m: Module) -> None:
        """Give what the cut multiplier would give of small factors; anything of others."""
        expected, small = Signal(2 * FACTOR_BITS), Signal()
        m.d.sync += [
            expected.eq(self.left[:FACTOR_BITS] * self.right[:FACTOR_BITS]),
            small.eq(~(self.left[FACTOR_BITS:].any() | self.right[FACTOR_BITS:].any())),
        ]
        m.d.comb += given(~small | (self.product == expected))
