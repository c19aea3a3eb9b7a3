"""Weights in memory: what goes in comes out, at the mode's width."""

import numpy as np
import pytest

from hw.config import ArrayConfig, PEKind
from hw.precision import WeightMode
from sim import packing


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_words_give_the_weights_back(mode: WeightMode, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    config = ArrayConfig(lanes=lanes)
    weight = rng.integers(mode.min, mode.max + 1, (37, 5))
    words = packing.weight_words(weight, mode, config)
    assert words.shape == (-(-37 // lanes), mode.digits, 5, lanes)
    assert words.max() <= 3
    restored = packing.weights_from_words(words, mode, config, 37)
    np.testing.assert_array_equal(restored, weight)


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("pe", PEKind, ids=lambda pe: pe.value)
def test_words_of_every_kind_give_the_weights_back(mode: WeightMode, pe: PEKind) -> None:
    config = ArrayConfig(pe=pe, lanes=1 if pe.traits.one_lane else 8)
    weight = np.random.default_rng(5).integers(mode.min, mode.max + 1, (37, 3))
    words = packing.weight_words(weight, mode, config)
    chunks = -(-37 // config.chunk_depth(mode))
    assert words.shape == (chunks, config.weight_items(mode), 3, config.lanes)
    assert words.max() < 1 << config.weight_field_bits
    restored = packing.weights_from_words(words, mode, config, 37)
    np.testing.assert_array_equal(restored, weight)


def test_words_of_digit_planes_by_hand() -> None:
    config = ArrayConfig(pe=PEKind.DIGIT_PLANES, lanes=8)
    weight = np.array([[0b0110], [0b0001], [-0b1000], [0b0111]])
    words = packing.weight_words(weight, WeightMode.W4, config)
    # planes of two lanes: products 0 and 1, their upper digits, products 2 and 3, theirs
    assert words[0, 0, 0].tolist() == [2, 1, 1, 0, 0, 3, 2, 1]


def test_activations_fill_the_lanes_that_a_mode_uses() -> None:
    config = ArrayConfig(pe=PEKind.DIGIT_PLANES, lanes=8)
    fields = packing.act_fields(np.array([[1, 2, 3, 4, 5]]), WeightMode.W8, config)
    assert fields[:, 0].tolist() == [
        [1, 2, 0, 0, 0, 0, 0, 0],
        [3, 4, 0, 0, 0, 0, 0, 0],
        [5, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_int8_array_reads_whole_weights() -> None:
    config = ArrayConfig().int8_equivalent()
    weight = np.array([[-128, 5], [127, -1]])
    words = packing.weight_words(weight, WeightMode.W8, config)
    assert words.shape == (2, 1, 2, 1)
    np.testing.assert_array_equal(
        packing.weights_from_words(words, WeightMode.W8, config, 2), weight
    )


def test_memory_takes_exactly_the_bits_of_the_mode() -> None:
    weight = np.array([[-8], [7], [-1], [0]])
    words = packing.weight_words(weight, WeightMode.W4, ArrayConfig(lanes=4))
    # digit 0: 00 11 11 00, digit 1: 10 01 11 00, first lane lowest
    assert packing.pack(words, 2) == bytes([0b00_11_11_00, 0b00_11_01_10])


@pytest.mark.parametrize("bits", [1, 2, 3, 6, 8, 13])
def test_unpack_inverts_pack(bits: int) -> None:
    fields = np.random.default_rng(bits).integers(0, 1 << bits, 29)
    data = packing.pack(fields, bits)
    assert len(data) == -(-29 * bits // 8)
    np.testing.assert_array_equal(packing.unpack(data, bits, 29), fields)
    with pytest.raises(ValueError, match=r"^data must be at least "):
        packing.unpack(data[:-1], bits, 29)


def test_weight_beyond_the_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^weight must be from -2 to 1 at W2, not -3 to 0$"):
        packing.weight_words(np.array([[-3], [0]]), WeightMode.W2, ArrayConfig())
