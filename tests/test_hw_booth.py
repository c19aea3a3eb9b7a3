"""Recoding: the digits of a weight, in Python and in gateware."""

import pytest
from amaranth.sim import Simulator

from hw.booth import DigitRecoder, digits
from hw.precision import WeightMode


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_digits_weigh_up_to_every_weight(mode: WeightMode) -> None:
    for weight in range(mode.min, mode.max + 1):
        recoded = digits(weight, mode)
        assert len(recoded) == mode.digits
        assert all(-2 <= digit <= 2 for digit in recoded)
        assert sum(digit * 4**d for d, digit in enumerate(recoded)) == weight


def test_digits_refuse_a_weight_beyond_the_mode() -> None:
    with pytest.raises(ValueError, match=r"^weight must be from -2 to 1 at W2, not 2$"):
        digits(2, WeightMode.W2)


def test_recoder_gives_the_digits_of_every_8_bit_weight() -> None:
    recoder = DigitRecoder()
    mode = WeightMode.W8

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for weight in range(mode.min, mode.max + 1):
            for d, digit in enumerate(digits(weight, mode)):
                ctx.set(recoder.pair, weight >> 2 * d & 3)
                ctx.set(recoder.below, weight >> 2 * d - 1 & 1 if d else 0)
                await ctx.delay(1e-9)
                lines = ctx.get(recoder.digit)
                magnitude = lines["one"] + 2 * lines["two"]
                assert (magnitude, lines["neg"]) == (abs(digit), digit < 0), (weight, d)

    simulator = Simulator(recoder)
    simulator.add_testbench(bench)
    simulator.run()  # type: ignore[no-untyped-call]


def test_modes_know_their_ranges() -> None:
    assert [(m.bits, m.min, m.max) for m in WeightMode] == [
        (2, -2, 1),
        (4, -8, 7),
        (6, -32, 31),
        (8, -128, 127),
    ]
    assert WeightMode.from_bits(6) is WeightMode.W6
    with pytest.raises(ValueError, match=r"^weight bits must be one of 2, 4, 6, 8, not 3$"):
        WeightMode.from_bits(3)
