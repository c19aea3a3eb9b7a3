"""Exact integer arithmetic of the array: what the RTL and the quantised network must equal.

Plain numpy, no gateware. The definitions are in docs/numerics.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.precision import MULTIPLIER_BITS, SHIFT_MAX, WeightMode

Ints = NDArray[np.integer]


def matmul(act: Ints, weight: Ints, mode: WeightMode) -> NDArray[np.int64]:
    """Integer matrix product at one weight precision.

    Parameters
    ----------
    act : int [N, K]
        Activations, at most 8 bit, signed or not.
    weight : int [K, M]
        Weights, each within ``mode``.
    mode : WeightMode
        Precision of the weights.

    Returns
    -------
    int64 [N, M]
        Exact sums; no rounding, no saturation.

    Raises
    ------
    ValueError
        If an operand is out of range or the shapes do not fit.
    """
    if act.ndim != 2 or weight.ndim != 2 or act.shape[1] != weight.shape[0]:
        raise ValueError(
            f"act [N, K] and weight [K, M] must share K, not {act.shape} and {weight.shape}"
        )
    _within("weight", weight, mode.min, mode.max)
    _within("act", act, -128, 255)
    product: NDArray[np.int64] = act.astype(np.int64) @ weight.astype(np.int64)
    return product


def im2col(
    images: Ints, *, kernel: tuple[int, int], stride: int = 1, padding: int = 0, zero_point: int = 0
) -> Ints:
    """Patches of feature maps as rows of a matrix product.

    Parameters
    ----------
    images : int [B, H, W, C]
        Feature maps.
    kernel : (int, int)
        Height and width.
    stride, padding : int
        The same in both directions; padding holds `zero_point`.
    zero_point : int
        Integer that stands for the real 0.

    Returns
    -------
    int [B * OH * OW, KH * KW * C]
        Depth in the order kernel row, kernel column, channel.
    """
    padded = np.pad(
        images,
        ((0, 0), (padding, padding), (padding, padding), (0, 0)),
        constant_values=zero_point,
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))
    patches = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return patches.reshape(-1, kernel[0] * kernel[1] * images.shape[3])


def fixed_point(scale: float) -> tuple[int, int]:
    """Multiplier and right shift that stand for a positive real factor.

    Parameters
    ----------
    scale : float
        Scale of the input times scale of the weight over scale of the output.

    Returns
    -------
    multiplier, shift : int
        ``multiplier * 2**-shift`` is within ``2**-16`` of `scale`, relatively.

    Raises
    ------
    ValueError
        If the scale is not positive, or so extreme that the shift is not from 1 to 47.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive and finite, not {scale}")
    mantissa, exponent = np.frexp(scale)
    multiplier = int(np.floor(mantissa * (1 << MULTIPLIER_BITS) + 0.5))
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, exponent = multiplier >> 1, exponent + 1
    shift = MULTIPLIER_BITS - int(exponent)
    if not 1 <= shift <= SHIFT_MAX:
        raise ValueError(f"scale must be from 2**-32 to below 2**15, not {scale}")
    return multiplier, shift


def requantise(
    acc: Ints,
    *,
    bias: Ints,
    multiplier: Ints,
    shift: Ints,
    zero_point: int,
    low: int = 0,
    high: int = 255,
) -> NDArray[np.int64]:
    """Scale sums to activations: ``clamp(((acc + bias) * multiplier >> shift) + zero_point)``.

    The shift rounds to nearest, halves up.

    Parameters
    ----------
    acc : int [..., M]
        Sums of the array, 32 bit.
    bias : int [M]
        Bias in units of the sums, zero point of the input folded in; 32 bit.
    multiplier, shift : int [M]
        From `fixed_point`, one pair a channel.
    zero_point : int
        Of the output.
    low, high : int
        Bounds of the output: its range, narrowed by ReLU or ReLU6.

    Returns
    -------
    int64 [..., M]

    Raises
    ------
    ValueError
        If `acc` + `bias` leaves 32 bits, or a multiplier or shift its range.
    """
    total = acc.astype(np.int64) + bias
    _within("acc + bias", total, -(1 << 31), (1 << 31) - 1)
    _within("multiplier", multiplier, 0, (1 << MULTIPLIER_BITS) - 1)
    _within("shift", shift, 1, SHIFT_MAX)
    scaled = rounded_shift(total * multiplier.astype(np.int64), shift.astype(np.int64))
    clamped: NDArray[np.int64] = np.clip(scaled + zero_point, low, high)
    return clamped


def rounded_shift(values: NDArray[np.int64], shift: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide by ``2**shift``, to nearest, halves up; `shift` at least 1."""
    shifted: NDArray[np.int64] = (values + (np.int64(1) << (np.int64(shift) - 1))) >> shift
    return shifted


def _within(name: str, values: Ints, low: int, high: int) -> None:
    if values.size and not (values.min() >= low and values.max() <= high):
        worst = values.min() if values.min() < low else values.max()
        raise ValueError(f"{name} must be from {low} to {high}, not {worst}")
