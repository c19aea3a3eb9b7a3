"""The requantiser against docs/numerics.md, for every sum, bias, multiplier, shift and bound.

A barrel shifter behind a multiplier is too much for the solver at once, so the claim comes in
three parts which meet at the pipeline's registers: what the product is, how any product is rounded,
how any rounded number is moved and clamped. The pipeline has no feedback; what it gives depends on
the inputs of the last `hw.requant.LATENCY` cycles only, and a bounded proof sees all of them.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.hdl import ResetSignal
from amaranth.lib.wiring import In

from hw.config import ArrayConfig
from hw.precision import MULTIPLIER_BITS
from hw.requant import CHANNEL, LATENCY, Requantiser
from sim.formal.harness import Harness, claim, given, later

PRODUCT_LATENCY = 2
"""Clock edges from a sum to its product; one more rounds it, one more clamps it."""

WIDE = signed(32 + MULTIPLIER_BITS)


class _Part(Harness):
    """Requantisers with the same free inputs."""

    def __init__(
        self, config: ArrayConfig, *, names: list[str], seen: list[str], free: list[str]
    ) -> None:
        act = signed(config.act_bits) if config.act_signed else config.act_bits
        self.duts = {name: Requantiser(config) for name in names}
        ports = {
            "valid": In(1),
            "sum": In(signed(config.acc_bits)),
            "channel": In(CHANNEL),
            "zero_point": In(act),
            "low": In(act),
            "high": In(act),
            "wrap": In(1),
        }
        super().__init__(
            ports,
            probes={f"{name}_{wire}": (f"{name}.{wire}", WIDE) for name in names for wire in seen},
            cuts=tuple(f"{name}.{wire}" for name in names for wire in free),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += given(~ResetSignal())
        for name, dut in self.duts.items():
            m.submodules[name] = dut
            for port in ("valid", "sum", "channel", "zero_point", "low", "high", "wrap"):
                m.d.comb += getattr(dut, port).eq(getattr(self, port))
        self._check(m)
        return m

    def _check(self, m: Module) -> None:
        raise NotImplementedError


class Product(_Part):
    """The product is that of sum plus bias and multiplier, if the sum fits 32 bits."""

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(config, names=["dut"], seen=["product"], free=[])

    def _check(self, m: Module) -> None:
        total = self.sum + self.channel.bias
        m.d.comb += given((total >= -(1 << 31)) & (total < 1 << 31))
        fits, product = Signal(signed(32)), Signal(WIDE)
        m.d.comb += [fits.eq(total), product.eq(fits * self.channel.multiplier)]
        valid = later(m, self.valid, PRODUCT_LATENCY, "valid")
        expected = later(m, product, PRODUCT_LATENCY, "expected")
        with m.If(valid):
            m.d.comb += claim(self.dut_product == expected)


class Rounding(_Part):
    """Any product becomes ``(product + 2**(shift - 1)) >> shift``; one requantiser a shift."""

    def __init__(self, config: ArrayConfig, shifts: range) -> None:
        self.shifts = shifts
        names = [f"dut_{shift}" for shift in shifts]
        super().__init__(config, names=names, seen=["product", "rounded"], free=["product"])

    def _check(self, m: Module) -> None:
        settled = later(m, self.valid, PRODUCT_LATENCY + 1, "valid")
        for shift, (name, dut) in zip(self.shifts, self.duts.items(), strict=True):
            product = getattr(self, f"{name}_product")
            scaled = Signal(WIDE, name=f"scaled_{shift}")
            m.d.comb += [
                dut.channel.shift.eq(shift),
                scaled.eq((product + (1 << (shift - 1))) >> shift),
            ]
            expected = later(m, scaled, 1, f"expected_{shift}")
            with m.If(settled):
                m.d.comb += claim(getattr(self, f"{name}_rounded") == expected)


class Clamping(_Part):
    """Any rounded number leaves as ``clamp(rounded + zero_point, low, high)``, with its `valid`.

    With `wrap` the low bits of that sum leave instead. The layer's parameters are those of the
    cycle in which the number is moved.
    """

    def __init__(self, config: ArrayConfig) -> None:
        super().__init__(config, names=["dut"], seen=["rounded"], free=["rounded"])

    def _check(self, m: Module) -> None:
        dut, low, high = self.duts["dut"], self.low, self.high
        moved = self.dut_rounded + self.zero_point
        clamped = Mux(moved < low, low, Mux(moved > high, high, moved))
        expected = Signal.like(dut.out)
        m.d.sync += expected.eq(Mux(self.wrap, moved[: len(dut.out)], clamped))
        valid = later(m, self.valid, LATENCY, "valid")
        m.d.comb += claim(dut.out_valid == valid)
        with m.If(valid):
            m.d.comb += claim(dut.out == expected)
