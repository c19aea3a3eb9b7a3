"""Configurations: what is accepted, what is derived."""

import re

import pytest

from hw.config import ArrayConfig, PEKind


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
    ],
)
def test_impossible_parameters_are_named(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ArrayConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signed", "depth", "bits"),
    [(False, 1, 16), (False, 2, 17), (True, 1, 16), (True, 2, 17), (True, 1 << 10, 26)],
)
def test_required_bits_by_hand(signed: bool, depth: int, bits: int) -> None:
    # unsigned: -255 * 128 = -32640 fits 16 bits; signed: -128 * -128 = 2**14 needs 16 with its sign
    config = ArrayConfig(act_signed=signed, max_depth=depth)
    assert config.required_acc_bits == bits


def test_int8_equivalent_has_the_products_of_a_cycle_at_8_bit() -> None:
    config = ArrayConfig(rows=8, cols=8, lanes=32)
    baseline = config.int8_equivalent()
    assert (baseline.rows, baseline.cols, baseline.lanes) == (32, 16, 1)
    assert baseline.pe is PEKind.INT8_MAC
    assert not baseline.double_buffered
    assert baseline.drain_cycles == config.drain_cycles
    with pytest.raises(ValueError, match=r"^booth_digit-2x1x1 has no INT8 array of equal"):
        ArrayConfig(rows=2, cols=1, lanes=1).int8_equivalent()
