"""From scales to the integers of requantisation (docs/numerics.md).

The exported network and its torch counterpart (`quant.exact`) both take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.quant_layer import LayerIntegers
from quant.quantizer import ActRange
from sim.folder import LOGIT_MOST
from sim.golden import fixed_point

_CONSTANT_FACTOR = 2.0**-8
_MOST = (1 << 31) - 1
_LARGEST_BIAS = 1 << 30
_LOGIT_ROOM = 1 - 2.0**-15
"""For the rounding of multipliers, 2^-17 relatively, and of sums."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Requantiser:
    """How a layer's sums become integers of its output.

    Parameters
    ----------
    weight : int8 [M, ...]
        As the layer's; channels too small to matter are 0.
    bias : int32 [M]
        In units of the sums, the zero point of the input folded in.
    multiplier : uint16 [M]
        See `sim.golden.requantise`.
    shift : uint8 [M]
        The same.
    scale : float64
        Of the output.
    """

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.uint16]
    shift: NDArray[np.uint8]
    scale: float


def requantiser(layer: LayerIntegers, source: ActRange, scale: float | None) -> Requantiser:
    """Requantisation of a layer.

    A channel whose weights are 0, or so small that its bias would not fit 31 bits in units of its
    sums, becomes its bias alone, to 2^-8 of a unit of the output.

    Parameters
    ----------
    layer : LayerIntegers
        Weights, scales and biases, batch norm folded.
    source : ActRange
        Of the input.
    scale : float, optional
        Of the output; of the logits if it is not given: the smallest that holds every sum.

    Raises
    ------
    QuantError
        If a channel's scale is more than 2^15 of the output's.
    """
    axes = tuple(range(1, layer.weight.ndim))
    weight = layer.weight.astype(np.int64)
    unit = layer.scale.astype(np.float64) * source.scale
    largest = np.abs(weight).sum(axis=axes) * source.largest
    if scale is None:
        bound = (largest * unit + np.abs(layer.bias.astype(np.float64))).max()
        scale = float(max(bound, 1e-30)) / (LOGIT_MOST * _LOGIT_ROOM)
    constant = (largest == 0) | (np.abs(layer.bias) >= _LARGEST_BIAS * unit)
    constant |= unit / scale < 2.0**-31
    weight[constant] = 0
    largest[constant] = 0
    unit[constant] = scale * _CONSTANT_FACTOR
    room = _MOST - largest
    offset = source.zero_point * weight.sum(axis=axes)
    bias = np.floor(layer.bias.astype(np.float64) / unit + 0.5) - offset
    pairs = np.array([_fixed_point(float(factor)) for factor in unit / scale]).reshape(-1, 2)
    return Requantiser(
        weight=weight.astype(np.int8),
        bias=bias.clip(-room, room).astype(np.int32),
        multiplier=pairs[:, 0].astype(np.uint16),
        shift=pairs[:, 1].astype(np.uint8),
        scale=scale,
    )


def summand_multipliers(left: float, right: float, scale: float) -> tuple[int, int, int]:
    """Multipliers of two summands and their common shift, from the scales of all three.

    The larger multiplier takes 16 bits.

    Raises
    ------
    QuantError
        If a scale is more than 2^15 of the result's, or less than 2^-32.
    """
    _, shift = _fixed_point(max(left, right) / scale)
    factors = [int(np.floor(s / scale * 2.0**shift + 0.5)) for s in (left, right)]
    return factors[0], factors[1], shift


def average_multiplier(source: float, scale: float, count: int) -> tuple[int, int]:
    """Multiplier and shift of an average over `count` values."""
    return _fixed_point(source / (scale * count))


def _fixed_point(factor: float) -> tuple[int, int]:
    try:
        return fixed_point(factor)
    except ValueError as error:
        raise QuantError(
            f"scale of an input must be 2^-32 to 2^15 of that of the output, not {factor:.3g}; a "
            "tensor that is 0 on all calibration images has no scale"
        ) from error
