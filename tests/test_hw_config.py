"""Configurations: what is accepted, what is derived."""

import re
from typing import Any

import pytest

from hw.config import ArrayConfig, PEKind, Stage
from hw.precision import WeightMode


def test_accumulator_of_the_default_holds_the_longest_dot_product() -> None:
    config = ArrayConfig()
    low = config.max_depth * 255 * -128
    bits = config.required_acc_bits
    assert -(1 << (bits - 1)) <= low
    assert -(1 << (bits - 2)) > low, "one bit less would not do"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 0}, "rows must be from 1 to 256, not 0"),
        ({"lanes": 65}, "lanes must be from 1 to 64, not 65"),
        ({"act_bits": 9}, "act_bits must be from 4 to 8, not 9"),
        ({"pe": PEKind.INT8_MAC}, "lanes must be 1 for int8_mac, not 32"),
        ({"acc_bits": 16}, "acc_bits must be at least 30 for max_depth = 16384, not 16"),
        ({"drain_rows": 3}, "drain_rows must divide rows = 8, not 3"),
        (
            {"max_depth": 1 << 24, "lanes": 32},
            "max_depth must be at most 65536 chunks of 32, not 16777216",
        ),
        ({"group": 0}, "group must be from 1 to 64, not 0"),
        ({"max_shift": 8}, "max_shift must be from 1 to 7, not 8"),
        ({"pe": PEKind.SHIFT_ADD, "lanes": 2}, "lanes must be 1 for shift_add, not 2"),
        (
            {"pe": PEKind.DIGIT_PLANES, "lanes": 6},
            "lanes must be a multiple of 4 for digit_planes, not 6",
        ),
        (
            {"pe": PEKind.DIGIT_PLANES, "max_depth": 1 << 20},
            "max_depth must be at most 65536 chunks of 8, not 1048576",
        ),
        (
            {"pe": PEKind.RADIX4_DIGIT, "act_signed": True},
            "act_signed must be False for radix4_digit, not True",
        ),
        (
            {"pe": PEKind.INT8_MAC, "lanes": 1, "registers": (Stage.PRODUCT, Stage.SUM)},
            "registers must be some of product, in this order, for int8_mac, not product, sum",
        ),
        (
            {"registers": (Stage.SUM, Stage.GROUP)},
            "registers must be some of product, group, sum, in this order, for bit_pair, "
            "not sum, group",
        ),
    ],
)
def test_impossible_parameters_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ArrayConfig(**fields)


@pytest.mark.parametrize(
    ("signed", "depth", "bits"),
    [(False, 1, 16), (False, 2, 17), (True, 1, 16), (True, 2, 17), (True, 1 << 10, 26)],
)
def test_required_bits_by_hand(signed: bool, depth: int, bits: int) -> None:
    # unsigned: -255 * 128 = -32640 fits 16 bits; signed: -128 * -128 = 2**14 needs 16 with its sign
    config = ArrayConfig(act_signed=signed, max_depth=depth)
    assert config.required_acc_bits == bits


def test_accumulator_is_derived_where_none_is_given() -> None:
    config = ArrayConfig(max_depth=64, acc_bits=None)
    assert config.acc_bits == config.required_acc_bits == 22
    assert ArrayConfig().acc_bits == 32


@pytest.mark.parametrize(
    ("pe", "lanes", "depth", "items", "steps", "field_bits"),
    [
        (PEKind.BOOTH_DIGIT, 8, [8, 8, 8, 8], [1, 2, 3, 4], [1, 2, 3, 4], 2),
        (PEKind.BIT_PLANE, 8, [8, 8, 8, 8], [2, 4, 6, 8], [2, 4, 6, 8], 1),
        (PEKind.BIT_PAIR, 8, [8, 8, 8, 8], [1, 2, 3, 4], [1, 2, 3, 4], 2),
        (PEKind.RADIX4_DIGIT, 8, [8, 8, 8, 8], [1, 2, 3, 4], [1, 2, 3, 4], 2),
        (PEKind.DIGIT_PLANES, 8, [8, 4, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1], 2),
        (PEKind.SHIFT_ADD, 1, [1, 1, 1, 1], [1, 1, 1, 1], [1, 2, 3, 4], 8),
        (PEKind.INT8_MAC, 1, [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], 8),
        (PEKind.INT8_DOT, 8, [8, 8, 8, 8], [1, 1, 1, 1], [1, 1, 1, 1], 8),
    ],
)
def test_chunks_of_every_kind(
    pe: PEKind, lanes: int, depth: list[int], items: list[int], steps: list[int], field_bits: int
) -> None:
    config = ArrayConfig(pe=pe, lanes=lanes)
    assert [config.chunk_depth(mode) for mode in WeightMode] == depth
    assert [config.weight_items(mode) for mode in WeightMode] == items
    assert [config.steps(mode) for mode in WeightMode] == steps
    assert config.weight_field_bits == field_bits


def test_int8_dot_equivalent_has_the_products_of_a_cycle_at_8_bit() -> None:
    config = ArrayConfig(rows=8, cols=8, lanes=32)
    baseline = config.int8_dot_equivalent()
    assert (baseline.rows, baseline.cols, baseline.lanes) == (8, 4, 16)
    assert baseline.pe is PEKind.INT8_DOT
    assert baseline.double_buffered
    assert baseline.drain_cycles == config.drain_cycles
    planes = ArrayConfig(rows=8, cols=8, lanes=32, pe=PEKind.DIGIT_PLANES)
    assert planes.int8_dot_equivalent().lanes * 32 == 8 * 8 * 8


def test_int8_equivalent_has_the_products_of_a_cycle_at_8_bit() -> None:
    config = ArrayConfig(rows=8, cols=8, lanes=32)
    baseline = config.int8_equivalent()
    assert (baseline.rows, baseline.cols, baseline.lanes) == (32, 16, 1)
    assert baseline.pe is PEKind.INT8_MAC
    assert not baseline.double_buffered
    assert baseline.drain_cycles == config.drain_cycles
    with pytest.raises(ValueError, match=r"^bit_pair-2x1x1 has no INT8 array of equal"):
        ArrayConfig(rows=2, cols=1, lanes=1).int8_equivalent()
