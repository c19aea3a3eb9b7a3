"""Schedules against tiles counted by hand; the RTL is held to them in test_rtl_array.py."""

import pytest

from hw.config import ArrayConfig, PEKind, Stage
from hw.precision import WeightMode
from hw.schedule import (
    GemmShape,
    groups_per_tile,
    layer_schedule,
    pipeline_latency,
    steps_of_weights,
    tile_interval,
)


def test_convolution_by_hand() -> None:
    # 28 x 28 pixels, 3 x 3 x 16 deep, 16 channels on 8 x 8 x 32: 98 * 2 tiles of 5 chunks
    shape = GemmShape(pixels=784, depth=144, outputs=16)
    plan = layer_schedule(shape, WeightMode.W4, ArrayConfig())
    assert plan.tiles == 196
    assert plan.active_cycles == 196 * 5 * 2
    # last results: 4 cycles of pipeline, 1 output register, 4 cycles of two rows each, less one
    assert plan.cycles == 196 * 10 + 4 + 1 + 3
    assert plan.weight_bits == 196 * 10 * 8 * 64
    assert plan.act_bits == 196 * 5 * 8 * 32 * 8
    assert plan.output_bits == 784 * 16 * 8
    assert plan.utilisation == pytest.approx(144 / 160)


def test_short_tiles_wait_for_the_results_before_them() -> None:
    config = ArrayConfig(drain_rows=1)
    assert tile_interval(steps=3, config=config) == 8
    assert tile_interval(steps=30, config=config) == 30
    in_place = ArrayConfig(double_buffered=False, drain_rows=1)
    assert tile_interval(steps=30, config=in_place) == 30 + 7


def test_depthwise_groups_share_the_columns() -> None:
    config = ArrayConfig()
    assert groups_per_tile(groups=64, outputs=1, config=config) == 8
    assert groups_per_tile(groups=9, outputs=1, config=config) == 3, "a divisor of the groups"
    assert groups_per_tile(groups=4, outputs=9, config=config) == 1, "one does not fit"
    shape = GemmShape(pixels=49, depth=9, outputs=1, groups=64)
    plan = layer_schedule(shape, WeightMode.W8, config)
    assert plan.tiles == 8 * 7
    # 72 products of 8 channels in 3 chunks of 32
    assert plan.active_cycles == 8 * 7 * 3 * 4


def test_layer_that_is_too_deep_is_refused() -> None:
    shape = GemmShape(pixels=1, depth=20000, outputs=1)
    with pytest.raises(ValueError, match=r"^depth must be at most max_depth = 16384, not 20000$"):
        layer_schedule(shape, WeightMode.W2, ArrayConfig())


def test_empty_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pixels must be at least 1, not 0$"):
        GemmShape(pixels=0, depth=1, outputs=1)


def test_latency_follows_the_pipeline_registers() -> None:
    stages = (Stage.PRODUCT, Stage.GROUP, Stage.SUM)
    assert pipeline_latency(ArrayConfig()) == 4
    assert pipeline_latency(ArrayConfig(registers=())) == 2
    assert pipeline_latency(ArrayConfig(registers=stages)) == 5
    assert pipeline_latency(ArrayConfig(pe=PEKind.INT8_MAC, lanes=1)) == 3


def test_shift_add_columns_wait_for_the_slowest() -> None:
    config = ArrayConfig(pe=PEKind.SHIFT_ADD, lanes=1, rows=2, cols=2)
    # 0 and 1 take a cycle, 7 = 8 - 1 two, -128 three, 85 = 64 + 16 + 4 + 1 four
    weights = [[0, 1], [7, 1], [0, -128], [85, 85]]
    assert steps_of_weights(weights, WeightMode.W8, config) == 1 + 2 + 3 + 4
    assert steps_of_weights(weights, WeightMode.W8, ArrayConfig(lanes=3)) == 2 * 4


def test_schedule_of_known_weights_is_that_of_their_steps() -> None:
    config = ArrayConfig(
        pe=PEKind.SHIFT_ADD, lanes=1, rows=2, cols=2, drain_rows=1, double_buffered=False
    )
    shape = GemmShape(pixels=6, depth=4, outputs=2)
    worst = layer_schedule(shape, WeightMode.W8, config)
    assert worst.active_cycles == 3 * 4 * 4
    assert layer_schedule(shape, WeightMode.W8, config, steps=[16] * 3) == worst
    known = layer_schedule(shape, WeightMode.W8, config, steps=[10, 4, 5])
    assert known.active_cycles == 19
    # each tile waits a cycle for the second row before it; then 3 cycles of pipeline, two rows
    assert known.cycles == 10 + (4 + 1) + (5 + 1) + 3 + 1
    with pytest.raises(ValueError, match=r"^steps must be one number for each of 3 tiles, not 2$"):
        layer_schedule(shape, WeightMode.W8, config, steps=[1, 2])


def test_digit_planes_take_more_products_where_weights_are_short() -> None:
    config = ArrayConfig(pe=PEKind.DIGIT_PLANES, lanes=16)
    shape = GemmShape(pixels=8, depth=48, outputs=8)
    plans = [layer_schedule(shape, mode, config) for mode in WeightMode]
    assert [plan.active_cycles for plan in plans] == [3, 6, 12, 12]
    assert all(plan.utilisation == 1 for plan in plans)
    # a word has two bits for each of 16 lanes, an item's used activations eight
    assert [plan.weight_bits for plan in plans] == [8 * 32 * n for n in (3, 6, 12, 12)]
    assert [plan.act_bits for plan in plans] == [8 * 48 * 8] * 4
