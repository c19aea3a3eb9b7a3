"""The schemes of the quantisation whitepaper (Krishnamoorthi, arXiv 1806.08342) for weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.ranges import Calibration

Matrix = NDArray[np.float64]

_LEAST_SCALE = 1e-12


class WeightScheme(Enum):
    """Where weights share a scale, and whether 0 is in the middle; the value names it."""

    LAYER_ASYMMETRIC = "per-layer asymmetric"
    CHANNEL_SYMMETRIC = "per-channel symmetric"
    CHANNEL_ASYMMETRIC = "per-channel asymmetric"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a network is quantised.

    Parameters
    ----------
    weights : WeightScheme
    integers : IntegerRange
        Of the weights; full or narrow range.
    act_bits : int, optional
        Width of activations, 2 to 8; none leaves them in float. The image stays at 8 bit: ours.
    calibration : Calibration
        Of the activations.
    bias_correction : bool
        Whether biases make up for what the error of the weights adds to the mean of each output
        (Nagel et al., arXiv 1906.04721), the means being the float network's.
    reestimate_norms : bool
        Whether each layer's outputs get the means and variances of the float network's back, which
        is what new statistics in a batch norm that has been folded come to: a gain and an offset
        per channel, that requantisation takes up.
    """

    weights: WeightScheme
    integers: IntegerRange
    act_bits: int | None = 8
    calibration: Calibration = Calibration.MOVING_AVERAGE
    bias_correction: bool = False
    reestimate_norms: bool = False

    def __post_init__(self) -> None:
        """Check the width."""
        if self.act_bits is not None and not 2 <= self.act_bits <= 8:
            raise ValueError(f"act_bits must be from 2 to 8 or None, not {self.act_bits}")


def weight_grid(weight: Matrix, scheme: WeightScheme, integers: IntegerRange) -> WeightGrid:
    """Grid that spans the weights' minimum, 0 and maximum.

    Parameters
    ----------
    weight : float64 [M, K]
        Batch norm folded in.
    scheme : WeightScheme
    integers : IntegerRange

    Returns
    -------
    WeightGrid
        Nothing is clipped but what the rounding of a zero point pushes over an end, by less than a
        step.
    """
    low, high = np.minimum(weight.min(axis=1), 0.0), np.maximum(weight.max(axis=1), 0.0)
    if scheme is WeightScheme.CHANNEL_SYMMETRIC:
        scale = np.maximum(high / integers.high, low / integers.low)
        return _grid(integers, scale, np.zeros_like(scale))
    if scheme is WeightScheme.LAYER_ASYMMETRIC:
        low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
    scale = (high - low) / (integers.high - integers.low)
    zero_point = np.floor(integers.low - low / np.maximum(scale, _LEAST_SCALE) + 0.5)
    return _grid(integers, scale, np.clip(zero_point, integers.low, integers.high))


def _grid(integers: IntegerRange, scale: Matrix, zero_point: Matrix) -> WeightGrid:
    exact = np.maximum(scale, _LEAST_SCALE).astype(np.float32).astype(np.float64)
    return WeightGrid(range=integers, scale=exact, zero_point=zero_point)


def fake_quantised(weight: Tensor, scheme: Scheme) -> Tensor:
    """Weights float [M, ...] on their grid; the gradient passes straight through."""
    rows = weight.detach().flatten(1).double().numpy()
    grid = weight_grid(rows, scheme.weights, scheme.integers)
    values = torch.from_numpy(grid.values(grid.nearest(grid.units(rows)))).to(weight.dtype)
    return weight + (values.reshape(weight.shape) - weight).detach()
