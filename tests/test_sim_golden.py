"""The golden model against plain loops over Python integers."""

import numpy as np
import pytest

from hw.precision import WeightMode
from sim import golden


@pytest.mark.parametrize("mode", WeightMode, ids=lambda mode: mode.name)
def test_matmul_equals_plain_loops(mode: WeightMode) -> None:
    rng = np.random.default_rng(3)
    act = rng.integers(0, 256, (3, 17))
    weight = rng.integers(mode.min, mode.max + 1, (17, 5))
    result = golden.matmul(act, weight, mode)
    for n in range(3):
        for m in range(5):
            assert result[n, m] == sum(int(act[n, k]) * int(weight[k, m]) for k in range(17))


def test_matmul_of_narrow_types_does_not_overflow() -> None:
    act = np.full((1, 4096), 255, np.uint8)
    weight = np.full((4096, 1), -128, np.int8)
    assert golden.matmul(act, weight, WeightMode.W8)[0, 0] == -4096 * 255 * 128


def test_matmul_names_what_does_not_fit() -> None:
    act = np.zeros((1, 2), int)
    with pytest.raises(ValueError, match=r"^weight must be from -2 to 1, not 2$"):
        golden.matmul(act, np.array([[2], [0]]), WeightMode.W2)
    with pytest.raises(ValueError, match=r"^act must be from -128 to 255, not 256$"):
        golden.matmul(np.array([[256, 0]]), np.array([[1], [0]]), WeightMode.W2)
    with pytest.raises(ValueError, match=r"must share K, not \(1, 2\) and \(3, 1\)$"):
        golden.matmul(act, np.zeros((3, 1), int), WeightMode.W2)


def test_im2col_equals_plain_loops() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 5, 6, 3))
    patches = golden.im2col(images, kernel=(3, 3), stride=2, padding=1, zero_point=7)
    assert patches.shape == (2 * 3 * 3, 27)
    index = 0
    for image in images:
        for top in range(-1, 4, 2):
            for left in range(-1, 5, 2):
                expected = [
                    int(image[y, x, c]) if 0 <= y < 5 and 0 <= x < 6 else 7
                    for y in range(top, top + 3)
                    for x in range(left, left + 3)
                    for c in range(3)
                ]
                assert patches[index].tolist() == expected
                index += 1


def test_requantise_equals_integers_by_hand() -> None:
    rng = np.random.default_rng(11)
    acc = rng.integers(-(2**30), 2**30, (50, 4))
    bias = rng.integers(-(2**20), 2**20, 4)
    multiplier = rng.integers(2**15, 2**16, 4)
    shift = np.array([30, 35, 40, 44])
    result = golden.requantise(
        acc, bias=bias, multiplier=multiplier, shift=shift, zero_point=3, high=250
    )
    for n in range(50):
        for m in range(4):
            exact = (int(acc[n, m]) + int(bias[m])) * int(multiplier[m])
            rounded = (exact + 2 ** (int(shift[m]) - 1)) // 2 ** int(shift[m])
            assert result[n, m] == min(max(rounded + 3, 0), 250)


def test_requantise_rounds_halves_up() -> None:
    acc = np.array([[-3], [-1], [1], [3]])
    one = np.array([1])
    result = golden.requantise(
        acc, bias=np.array([0]), multiplier=one, shift=one, zero_point=0, low=-128, high=127
    )
    assert result[:, 0].tolist() == [-1, 0, 1, 2]


def test_requantise_refuses_what_leaves_32_bits() -> None:
    one = np.array([1])
    with pytest.raises(ValueError, match=r"^acc \+ bias must be from -2147483648 to 2147483647"):
        golden.requantise(
            np.array([[2**31 - 1]]), bias=one, multiplier=one, shift=one, zero_point=0
        )


@pytest.mark.parametrize("scale", [1e-9, 0.0123, 0.5, 1.0, 3.7, 0.9999999])
def test_fixed_point_is_within_one_in_two_to_the_16(scale: float) -> None:
    multiplier, shift = golden.fixed_point(scale)
    assert 2**15 <= multiplier < 2**16
    assert multiplier * 2.0**-shift == pytest.approx(scale, rel=2**-16)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_fixed_point_refuses_what_is_no_scale(scale: float) -> None:
    with pytest.raises(ValueError, match=r"^scale must be positive and finite, not "):
        golden.fixed_point(scale)
