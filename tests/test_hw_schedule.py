"""Schedules against tiles counted by hand; the RTL is held to them in test_rtl_array.py."""

import pytest

from hw.config import ArrayConfig
from hw.precision import WeightMode
from hw.schedule import GemmShape, groups_per_tile, layer_schedule, tile_interval


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


def test_depthwise_groups_share_the_lanes() -> None:
    config = ArrayConfig()
    shape = GemmShape(pixels=49, depth=9, outputs=1, groups=64)
    assert groups_per_tile(shape, config) == 3
    plan = layer_schedule(shape, WeightMode.W8, config)
    assert plan.tiles == 22 * 7
    assert plan.active_cycles == 22 * 7 * 4


def test_layer_that_is_too_deep_is_refused() -> None:
    shape = GemmShape(pixels=1, depth=20000, outputs=1)
    with pytest.raises(ValueError, match=r"^depth must be at most max_depth = 16384, not 20000$"):
        layer_schedule(shape, WeightMode.W2, ArrayConfig())


def test_empty_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pixels must be at least 1, not 0$"):
        GemmShape(pixels=0, depth=1, outputs=1)
