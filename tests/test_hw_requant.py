"""The requantiser's gateware against the golden model."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.config import ArrayConfig
from hw.precision import CHANNEL_BITS, SHIFT_MAX
from hw.requant import CHANNEL, LATENCY, Requantiser
from sim import golden


def test_parameters_of_a_channel_take_the_bits_that_memories_are_sized_by() -> None:
    assert CHANNEL.size == CHANNEL_BITS


@pytest.mark.parametrize(
    ("signed", "bounds", "values"),
    [(False, (7, 7, 240), 100), (True, (-20, -20, 100), 100), (False, (0, 0, 15), 15)],
    ids=["unsigned", "signed", "unsigned, 4 bit of 8"],
)
def test_requantiser_equals_the_golden_model(
    signed: bool, bounds: tuple[int, int, int], values: int
) -> None:
    config = ArrayConfig(act_signed=signed)
    dut = Requantiser(config)
    rng = np.random.default_rng(17)
    count = 3000
    shift = rng.integers(1, SHIFT_MAX + 1, count)
    # sums that reach the interesting range of each shift, rounding boundaries, and the extremes
    acc = np.round(rng.normal(size=count) * 2.0 ** np.minimum(shift - 8, 29)).astype(np.int64)
    acc[:40] = np.tile([-(2**30), 2**30 - 1, 0, -1], 10)
    acc = np.clip(acc, -(2**30), 2**30 - 1)
    bias = rng.integers(-(2**20), 2**20, count) * (np.arange(count) % 2)
    multiplier = rng.integers(2**15, 2**16, count)
    zero_point, low, high = bounds
    expected = golden.requantise(
        acc,
        bias=bias,
        multiplier=multiplier,
        shift=shift,
        zero_point=zero_point,
        low=low,
        high=high,
    )
    assert len(set(expected.tolist())) > values, "the test must not sit on the bounds"
    results: list[int] = []

    async def drive(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(dut.zero_point, zero_point)
        ctx.set(dut.low, low)
        ctx.set(dut.high, high)
        for i in range(count + LATENCY):
            ctx.set(dut.valid, i < count)
            if i < count:
                ctx.set(dut.sum, int(acc[i]))
                ctx.set(dut.channel.bias, int(bias[i]))
                ctx.set(dut.channel.multiplier, int(multiplier[i]))
                ctx.set(dut.channel.shift, int(shift[i]))
            await ctx.tick()
            if ctx.get(dut.out_valid):
                results.append(ctx.get(dut.out))

    simulator = Simulator(dut)
    simulator.add_clock(1e-9)  # type: ignore[no-untyped-call]
    simulator.add_testbench(drive)
    simulator.run()  # type: ignore[no-untyped-call]
    assert results == expected.tolist()
