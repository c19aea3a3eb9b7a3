"""Layers on an accelerator: configurations, descriptors, what fits and what does not."""

import re
from dataclasses import replace

import pytest

from hw.accelerator_config import AcceleratorConfig
from hw.catalog import CATALOG, memory_bits, named
from hw.config import ArrayConfig, PEKind
from hw.descriptor import DESCRIPTOR_BYTES, ErrorCode
from hw.mapping import ConvShape, describe, first_error, padded_channels, shared_groups
from hw.precision import WeightMode

EDGE = named("edge")
CONV = ConvShape(
    in_h=28, in_w=28, in_channels=16, out_channels=24, kernel_h=3, kernel_w=3,
    pad_top=1, pad_left=1, pad_bottom=1, pad_right=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"array": ArrayConfig(rows=6, max_depth=64)},
            "rows of an accelerator must be a power of two, not 6",
        ),
        ({"bank_channels": 4}, "bank_channels must be from cols = 8 to 64, not 4"),
        (
            {"array": ArrayConfig(cols=32, max_depth=64), "bank_channels": 32},
            "cols x drain_rows must be at most 32, the bus in bytes, not 64",
        ),
        (
            {"array": ArrayConfig(rows=1, cols=1, lanes=2, drain_rows=1, max_depth=64)},
            "a weight word of 4 bits must be whole beats of 1 bytes: give lanes or drain_rows "
            "another value",
        ),
        (
            {"array": ArrayConfig(lanes=64, max_depth=100000, acc_bits=40)},
            "sums must fit 32 bits, not 33: lower max_depth",
        ),
        ({"weight_words": 100}, "weight_words must be from 288 to 65536, not 100"),
        (
            {"array": ArrayConfig(cols=4, lanes=4, max_depth=64)},
            "a weight word of 32 bits must be whole beats of 8 bytes: give lanes or drain_rows "
            "another value",
        ),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        AcceleratorConfig(**fields)  # type: ignore[arg-type]


def test_catalogue_counts_both_halves_of_every_memory() -> None:
    bits = memory_bits(EDGE)
    assert bits["weights"] == 2 * 1280 * 8 * 32 * 2
    assert bits["acts"] == 2 * 640 * 8 * 16 * 8
    assert bits["patches"] == 2 * 72 * 8 * 32 * 8
    assert list(CATALOG) == ["tiny", "edge", "large"]


def test_descriptor_has_its_fields_where_the_document_says() -> None:
    descriptor = describe(
        replace(CONV, stride=2), WeightMode.W6, EDGE, in_zero_point=7, low=3, last=True, tag=0xABCD
    )
    data = descriptor.to_bytes()
    assert len(data) == DESCRIPTOR_BYTES
    assert list(data[:8]) == [1, 0b0100, 2, 3, 3, 2, 1, 1]
    sizes = [int.from_bytes(data[i : i + 2], "little") for i in range(8, 24, 2)]
    assert sizes == [28, 28, 14, 14, 16, 16, 1, 3]
    assert list(data[24:]) == [7, 0, 3, 255, 0xCD, 0xAB, 0, 0]


def test_a_value_beyond_its_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^tag must be from 0 to 65535, not 70000$"):
        describe(CONV, WeightMode.W2, EDGE, tag=70000).to_bytes()
    with pytest.raises(ValueError, match=r"^in_h must be from 1 to 65535, not 70000$"):
        replace(CONV, in_h=70000)
    with pytest.raises(ValueError, match=r"^low must be from 0 to 255, not -3$"):
        describe(CONV, WeightMode.W2, EDGE, low=-3)


def test_bounds_are_those_of_activations_if_none_are_given() -> None:
    array = replace(EDGE.array, act_signed=True, act_bits=6, pe=PEKind.BOOTH_DIGIT)
    descriptor = describe(CONV, WeightMode.W2, replace(EDGE, array=array))
    assert (descriptor.low, descriptor.high) == (-32, 31)


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_the_product_of_the_issue_fits_the_default(mode: WeightMode) -> None:
    shape = ConvShape.gemm(pixels=128, depth=576, outputs=128)
    assert first_error(describe(shape, mode, EDGE), EDGE) is ErrorCode.NONE


def test_shapes_that_give_no_output_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^the kernel must fit the padded map, but the output is"):
        ConvShape(in_h=2, in_w=5, in_channels=1, out_channels=1, kernel_h=3)
    with pytest.raises(ValueError, match=r"^in_channels must be a multiple of 2 groups, not 3$"):
        ConvShape(in_h=2, in_w=5, in_channels=3, out_channels=2, groups=2)


@pytest.mark.parametrize(("real", "stored"), [(1, 1), (3, 4), (16, 16), (17, 24)])
def test_channels_are_padded_where_the_reader_gets_faster(real: int, stored: int) -> None:
    shape = replace(CONV, in_channels=real)
    assert padded_channels(shape, WeightMode.W2, EDGE) == stored


def test_depthwise_channels_run_in_blocks_of_columns() -> None:
    shape = replace(CONV, in_channels=64, out_channels=64, groups=64)
    assert shared_groups(shape, EDGE.array) == 8
    descriptor = describe(shape, WeightMode.W4, EDGE)
    assert (descriptor.groups, descriptor.group_channels, descriptor.out_tiles) == (8, 8, 1)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, ErrorCode.NONE),
        ({"out_tiles": 0}, ErrorCode.SHAPE),
        ({"out_h": 30}, ErrorCode.SHAPE),
        ({"in_h": 500}, ErrorCode.ACT_SPACE),
        ({"in_channels": 16 * 7, "groups": 7}, ErrorCode.ACT_SPACE),
        ({"kernel_h": 13, "kernel_w": 13}, ErrorCode.DEPTH),
        ({"groups": 2}, ErrorCode.SHAPE),
        ({"out_tiles": 129}, ErrorCode.CHANNEL_SPACE),
        ({"out_tiles": 100}, ErrorCode.WEIGHT_SPACE),
    ],
)
def test_what_does_not_fit_is_told_as_the_gateware_does(
    changes: dict[str, int], error: ErrorCode
) -> None:
    descriptor = replace(describe(CONV, WeightMode.W8, EDGE), **changes)  # type: ignore[arg-type]
    assert first_error(descriptor, EDGE) is error


def test_planes_are_skipped_only_where_steps_and_layout_allow_it() -> None:
    kinds = {
        kind: AcceleratorConfig(
            array=ArrayConfig(
                rows=4, cols=4, lanes=1 if kind.traits.one_lane else 16, pe=kind, max_depth=64,
                drain_rows=1,
            ),
            bank_channels=4,
        ).skips_planes
        for kind in PEKind
    }  # fmt: skip
    assert {kind for kind, skips in kinds.items() if skips} == {
        PEKind.BOOTH_DIGIT,
        PEKind.BIT_PLANE,
        PEKind.BIT_PAIR,
        PEKind.RADIX4_DIGIT,
    }
