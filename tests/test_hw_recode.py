"""What weights become on their way to the PEs of each kind, in Python and in gateware."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.booth import digits
from hw.component import Component
from hw.config import ArrayConfig, PEKind
from hw.csd import csd_digits, most_shift_add_cycles, shift_add_cycles, shift_add_moves
from hw.edge import ActEdge
from hw.pe import GATEWARE
from hw.pe.recoder import Recoder
from hw.planes import PLANES, place, slots
from hw.precision import WeightMode

WEIGHTS = range(WeightMode.W8.min, WeightMode.W8.max + 1)


def simulate(dut: Component, testbench: Any) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-9)  # type: ignore[no-untyped-call]
    simulator.add_testbench(testbench)
    simulator.run()  # type: ignore[no-untyped-call]


def recoder_of(config: ArrayConfig) -> Recoder:
    return GATEWARE[config.pe].recoder(config)


def test_canonical_digits_weigh_up_to_every_weight_and_have_no_neighbours() -> None:
    for weight in WEIGHTS:
        found = csd_digits(weight)
        assert sum(digit << i for i, digit in enumerate(found)) == weight
        assert len(found) == 8
        assert not any(a and b for a, b in pairwise(found))


def test_canonical_digits_refuse_a_weight_of_nine_bits() -> None:
    with pytest.raises(ValueError, match=r"^weight must be from -128 to 127, not 128$"):
        csd_digits(128)


@pytest.mark.parametrize("max_shift", range(1, 8))
def test_moves_of_the_shift_add_mac_give_every_weight(max_shift: int) -> None:
    for weight in WEIGHTS:
        total, position = 0, 0
        for shift, digit in shift_add_moves(weight, max_shift):
            assert 0 <= shift <= max_shift
            position += shift
            total += digit << position
        assert total == weight


def test_cycles_of_the_shift_add_mac_by_hand() -> None:
    assert shift_add_moves(0, 3) == [(0, 0)]
    assert shift_add_moves(7, 3) == [(0, -1), (3, 1)]
    # one digit at position 7 is three shifts away
    assert shift_add_moves(-128, 3) == [(3, 0), (3, 0), (1, -1)]
    assert [shift_add_cycles(-128, s) for s in (1, 2, 3, 4, 7)] == [7, 4, 3, 2, 1]
    assert [most_shift_add_cycles(mode, 3) for mode in WeightMode] == [1, 2, 3, 4]


@pytest.mark.parametrize("max_shift", [1, 3, 7])
def test_move_recoder_makes_the_moves_of_every_weight(max_shift: int) -> None:
    dut = recoder_of(ArrayConfig(pe=PEKind.SHIFT_ADD, lanes=1, max_shift=max_shift))

    async def bench(ctx: Any) -> None:
        for weight in WEIGHTS:
            moves = shift_add_moves(weight, max_shift)
            ctx.set(dut.word[0], weight & 0xFF)
            for index, (shift, digit) in enumerate(moves):
                ctx.set(dut.step, 1)
                ctx.set(dut.first, index == 0)
                assert ctx.get(dut.left) == (index + 1 < len(moves)), (weight, index)
                await ctx.tick()
                move = ctx.get(dut.out)[0]
                lines = (move.load, move.shift, move.add, move.neg)
                assert lines == (index == 0, 1 << shift, digit != 0, digit < 0), (weight, index)
            # other columns may have digits left: this one goes on without adding, or waits
            for step in (1, 0):
                ctx.set(dut.step, step)
                ctx.set(dut.first, 0)
                await ctx.tick()
                move = ctx.get(dut.out)[0]
                assert (move.load, move.shift, move.add, move.neg) == (0, 1, 0, 0), weight

    simulate(dut, bench)


@pytest.mark.parametrize(("pe", "lanes"), [(PEKind.BIT_PLANE, 6), (PEKind.BIT_PAIR, 3)])
def test_bits_come_as_they_are(pe: PEKind, lanes: int) -> None:
    dut = recoder_of(ArrayConfig(pe=pe, lanes=lanes))

    async def bench(ctx: Any) -> None:
        ctx.set(dut.step, 1)
        for word in range(64):
            ctx.set(dut.word.as_value(), word)
            await ctx.tick()
            assert ctx.get(dut.out.as_value()) == word
        ctx.set(dut.step, 0)
        ctx.set(dut.word.as_value(), 0)
        await ctx.tick()
        assert ctx.get(dut.out.as_value()) == 63, "held where there is no step"

    simulate(dut, bench)


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_plain_digits_are_those_of_the_offset_weight(mode: WeightMode) -> None:
    dut = recoder_of(ArrayConfig(pe=PEKind.RADIX4_DIGIT, lanes=1))

    async def bench(ctx: Any) -> None:
        ctx.set(dut.step, 1)
        for weight in range(mode.min, mode.max + 1):
            total = 0
            for d in range(mode.digits):
                ctx.set(dut.word[0], weight >> 2 * d & 3)
                ctx.set(dut.last, d == mode.digits - 1)
                await ctx.tick()
                lines = ctx.get(dut.out)[0]
                total += (lines.one + 2 * lines.two + 3 * lines.three) << 2 * d
                assert lines.one + lines.two + lines.three <= 1
            assert total == weight + (1 << mode.bits - 1)

    simulate(dut, bench)


def test_planes_by_hand() -> None:
    assert [slots(mode) for mode in WeightMode] == [4, 2, 1, 1]
    held = {mode.name: [place(plane, mode) for plane in range(PLANES)] for mode in WeightMode}
    assert held == {
        "W2": [(0, 0), (1, 0), (2, 0), (3, 0)],
        "W4": [(0, 0), (0, 1), (1, 0), (1, 1)],
        "W6": [(0, 0), (0, 1), (0, 2), None],
        "W8": [(0, 0), (0, 1), (0, 2), (0, 3)],
    }


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_planes_recode_the_digits_of_all_weights_of_a_chunk(mode: WeightMode) -> None:
    dut = recoder_of(ArrayConfig(pe=PEKind.DIGIT_PLANES, lanes=4))

    def chunks() -> Iterator[list[int]]:
        for weight in range(mode.min, mode.max + 1):
            # neighbours of another sign, whose bits must not leak into a digit
            yield [weight, ~weight, weight, ~weight][: slots(mode)]

    async def bench(ctx: Any) -> None:
        ctx.set(dut.step, 1)
        ctx.set(dut.mode, mode.digits - 1)
        for weights in chunks():
            places = [place(plane, mode) for plane in range(PLANES)]
            expected = [digits(weights[p[0]], mode)[p[1]] if p else 0 for p in places]
            for plane, held in enumerate(places):
                pair = weights[held[0]] >> 2 * held[1] & 3 if held else 0
                ctx.set(dut.word[plane], pair)
            await ctx.tick()
            lines = [ctx.get(dut.out)[plane] for plane in range(PLANES)]
            found = [(line.one + 2 * line.two) * (-1 if line.neg else 1) for line in lines]
            assert found == expected, weights

    simulate(dut, bench)


def test_spread_gives_each_plane_the_activation_of_its_product() -> None:
    config = ArrayConfig(pe=PEKind.DIGIT_PLANES, lanes=8)
    dut = ActEdge(config)

    async def bench(ctx: Any) -> None:
        ctx.set(dut.load, 1)
        for lane in range(8):
            ctx.set(dut.act[lane], 10 + lane)
        for mode in WeightMode:
            ctx.set(dut.mode, mode.digits - 1)
            await ctx.tick()
            found = [ctx.get(dut.out[lane]) for lane in range(8)]
            for plane in range(PLANES):
                held = place(plane, mode)
                if held:
                    first = 10 + 2 * held[0]
                    assert found[2 * plane : 2 * plane + 2] == [first, first + 1], mode

    simulate(dut, bench)
