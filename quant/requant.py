"""From scales to the integers of requantisation (docs/numerics.md).

The exported network and its torch counterpart (`quant.exact`) both take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.layers import LayerIntegers
from quant.quantizer import ActRange
from sim.folder import LOGIT_MOST
from sim.golden import fixed_point

_LEAST_FACTOR = 2.0**-30
_CONSTANT_FACTOR = 2.0**-12
_MOST = (1 << 31) - 1
_SUMMAND_BITS = 14


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

    A channel whose largest sum would be less than a unit of the output by far (weights of 0, or a
    scale below 2^-30 of the output's) becomes its bias alone. Biases that would not fit 32 bits
    beside the largest sum saturate.

    Parameters
    ----------
    layer : LayerIntegers
        Weights, scales and biases, batch norm folded.
    source : ActRange
        Of the input.
    scale : float, optional
        Of the output; of the logits if it is not given: the smallest that holds every sum.
    """
    axes = tuple(range(1, layer.weight.ndim))
    weight = layer.weight.astype(np.int64)
    unit = layer.scale.astype(np.float64) * source.scale
    largest = np.abs(weight).sum(axis=axes) * source.largest
    if scale is None:
        bound = (largest * unit + np.abs(layer.bias.astype(np.float64))).max()
        scale = float(max(bound, 1e-30)) / (LOGIT_MOST - 1)
    constant = (largest == 0) | (unit / scale < _LEAST_FACTOR)
    weight[constant] = 0
    largest[constant] = 0
    unit[constant] = scale * _CONSTANT_FACTOR
    room = _MOST - largest
    offset = source.zero_point * weight.sum(axis=axes)
    bias = np.floor(layer.bias.astype(np.float64) / unit + 0.5) - offset
    pairs = np.array([fixed_point(float(factor)) for factor in unit / scale]).reshape(-1, 2)
    return Requantiser(
        weight=weight.astype(np.int8),
        bias=bias.clip(-room, room).astype(np.int32),
        multiplier=pairs[:, 0].astype(np.uint16),
        shift=pairs[:, 1].astype(np.uint8),
        scale=scale,
    )


def summand_multipliers(left: float, right: float, scale: float) -> tuple[int, int, int]:
    """Multipliers of two summands and their common shift, from the scales of all three.

    The larger multiplier takes 15 or 16 bits.
    """
    shift = _SUMMAND_BITS + 1 - int(np.frexp(max(left, right) / scale)[1]) + 1
    shift = min(max(shift, 1), 47)
    factors = [int(np.floor(s / scale * 2.0**shift + 0.5)) for s in (left, right)]
    return factors[0], factors[1], shift


def average_multiplier(source: float, scale: float, count: int) -> tuple[int, int]:
    """Multiplier and shift of an average over `count` values."""
    return fixed_point(source / (scale * count))
