"""Timelines by hand; the RTL is held to them in test_rtl_accelerator.py."""

from dataclasses import replace

import pytest

from hw.catalog import named
from hw.mapping import ConvShape, describe
from hw.precision import WeightMode
from hw.timeline import payload_beats, run_times, tap_cycles, tile_steps

EDGE = named("edge")


def test_taps_take_a_cycle_a_piece_and_more_where_banks_conflict() -> None:
    shape = ConvShape(
        in_h=4, in_w=8, in_channels=32, out_channels=8, kernel_h=1, kernel_w=1, stride=2
    )
    # outputs of two lines: pixels 0 2 4 6 and 16 18 20 22, two in each even bank
    assert tap_cycles(describe(shape, WeightMode.W8, EDGE), EDGE) == [[2 * 2]]
    line = replace(shape, stride=1)
    assert tap_cycles(describe(line, WeightMode.W8, EDGE), EDGE) == [[2]] * 4
    padded = ConvShape(in_h=1, in_w=1, in_channels=3, out_channels=8, pad_top=4, pad_bottom=4)
    # nine outputs, eight of them outside of the map: a tap still takes its cycle
    assert tap_cycles(describe(padded, WeightMode.W2, EDGE), EDGE) == [[1], [1]]


def test_payload_is_records_weights_and_activations() -> None:
    shape = ConvShape.gemm(pixels=9, depth=40, outputs=9)
    descriptor = describe(shape, WeightMode.W4, EDGE)
    tiles = tile_steps(descriptor, EDGE)
    # 64 bytes a tile; 2 chunks x 2 digits x 64 bytes a tile; 2 x 5 tiles of pixels x channels
    records, weights, acts = 2 * 4, 2 * 4 * 4, 2 * 5 * 4
    assert descriptor.in_channels == 40
    assert payload_beats(descriptor, tiles, EDGE) == records + weights + acts
    kept = replace(descriptor, keep_acts=True, keep_weights=True)
    assert payload_beats(kept, tiles, EDGE) == 0


def test_a_second_layer_loads_while_the_first_one_runs() -> None:
    shape = ConvShape.gemm(pixels=128, depth=576, outputs=64)
    descriptor = describe(shape, WeightMode.W8, EDGE)
    one = (descriptor, tile_steps(descriptor, EDGE))
    alone, both = run_times([one], EDGE), run_times([one, one], EDGE)
    steps = 16 * 8 * 18 * 4
    assert alone.steps == steps
    assert both.layers[1].first_step == both.layers[0].last_step + 1, "no bubble between layers"
    assert both.busy == alone.busy + steps


def test_a_layer_that_is_refused_has_no_timeline() -> None:
    descriptor = replace(
        describe(ConvShape.gemm(pixels=9, depth=40, outputs=9), WeightMode.W4, EDGE), groups=2
    )
    with pytest.raises(ValueError, match=r"^layer 0 must fit the accelerator, but gives SHAPE$"):
        run_times([(descriptor, tile_steps(descriptor, EDGE))], EDGE)


def test_empty_planes_are_skipped() -> None:
    shape = ConvShape.gemm(pixels=16, depth=64, outputs=16)
    descriptor = describe(shape, WeightMode.W8, EDGE)
    tiles = tile_steps(descriptor, EDGE, planes=[WeightMode.W8, WeightMode.W4])
    times = run_times([(descriptor, tiles)], EDGE)
    assert times.steps == 2 * (2 * 4 + 2 * 2)
    assert times.skipped == 2 * 2 * 2


def test_the_products_of_the_issue_keep_the_array_busy() -> None:
    for mode in WeightMode:
        shape = ConvShape.gemm(pixels=128, depth=576, outputs=128)
        descriptor = describe(shape, mode, EDGE)
        layer = run_times([(descriptor, tile_steps(descriptor, EDGE))], EDGE).layers[0]
        assert layer.steps == 16 * 16 * 18 * mode.digits
        assert layer.steps / layer.cycles > 0.998
