"""Activation ranges from observed values: five ways to choose them, any width, per tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quant.calibrate import clip

Values = NDArray[np.float32]
Ends = tuple[float, float]

MOST_PERCENTILE = 99.99
DECAY = 0.9
"""Weight of the past in the moving average."""

SHARES = np.linspace(0.2, 1.0, 81)
"""Parts of the whole range that are tried as ranges."""

BINS = 2048
SAMPLE = 1 << 16
"""Values kept per observed batch unless told otherwise, evenly strided."""

_LEAST_STEP = 1e-12
_SMOOTHING = 1e-9


class Calibration(Enum):
    """A way to choose a range; the value is its name on the command line."""

    MIN_MAX = "min-max"
    MOVING_AVERAGE = "moving-average"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


@dataclass(frozen=True, kw_only=True)
class ActGrid:
    """Values that an activation may take: ``step * (q - zero_point)``, q in 0..2**bits - 1.

    Parameters
    ----------
    step : float
    zero_point : int
        The integer that stands for 0.
    bits : int
    """

    step: float
    zero_point: int
    bits: int

    @classmethod
    def of(cls, low: float, high: float, bits: int) -> ActGrid:
        """Grid that covers [low, high] and 0; 0 itself is one of its values."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = max((high - low) / ((1 << bits) - 1), _LEAST_STEP)
        return cls(step=step, zero_point=int(-low / step + 0.5), bits=bits)

    @property
    def low(self) -> float:
        """Smallest value."""
        return -self.zero_point * self.step

    @property
    def high(self) -> float:
        """Largest value."""
        return ((1 << self.bits) - 1 - self.zero_point) * self.step

    def nearest(self, x: Tensor) -> Tensor:
        """Round float values to the grid; the gradient passes inside the range only."""
        inside = x.clamp(self.low, self.high)
        return inside + (torch.floor(inside / self.step + 0.5) * self.step - inside).detach()


def act_range(
    batches: Sequence[Values],
    calibration: Calibration,
    bits: int,
    *,
    ends: Sequence[Ends] | None = None,
) -> ActGrid:
    """Choose the grid of a tensor.

    Parameters
    ----------
    batches : sequence of float32 [n]
        Values of each observed batch, or a sample of them, in order; none empty.
    calibration : Calibration
        ``min-max``: of all values; ``moving-average``: of the batches' minima and maxima, the past
        weighted by `DECAY` (arXiv 1806.08342, section 3.1.1); ``percentile``: between that of
        `quant.calibrate.clip`, at most `MOST_PERCENTILE`, and what it leaves below; ``mse``: the
        part of the whole range of least squared error; ``entropy``: that of least divergence of the
        quantised histogram from the clipped one, after TensorRT's calibration (Migacz, GTC 2017).
        Parts shrink both ends alike: ours.
    bits : int
        Width.
    ends : sequence of (float, float), optional
        Minimum and maximum of each batch; those of a sample fall short. Percentile, squared error
        and divergence are always those of the sample.
    """
    values = np.concatenate(batches)
    ends = ends or [(float(batch.min()), float(batch.max())) for batch in batches]
    low, high = min(0.0, *(end[0] for end in ends)), max(0.0, *(end[1] for end in ends))
    if calibration is Calibration.MOVING_AVERAGE:
        low, high = (_averaged(end) for end in zip(*ends, strict=True))
    elif calibration is Calibration.PERCENTILE:
        most = min(clip(bits), MOST_PERCENTILE)
        low, high = (
            float(np.percentile(values, share, method="nearest")) for share in (100 - most, most)
        )
    elif values.any() and calibration in (Calibration.MSE, Calibration.ENTROPY):
        grids = [ActGrid.of(low * share, high * share, bits) for share in SHARES]
        by_squares = calibration is Calibration.MSE
        return min(grids, key=_squared_error(values) if by_squares else _divergence(values))
    return ActGrid.of(low, high, bits)


def _averaged(values: Sequence[float]) -> float:
    average = values[0]
    for value in values[1:]:
        average = DECAY * average + (1 - DECAY) * value
    return average


def _squared_error(values: Values) -> Callable[[ActGrid], float]:
    def loss(grid: ActGrid) -> float:
        rounded = np.floor(values / grid.step + 0.5) * grid.step
        return float(np.square(np.clip(rounded, grid.low, grid.high) - values).mean())

    return loss


def _divergence(values: Values) -> Callable[[ActGrid], float]:
    """KL divergence of a grid's histogram of the values from the histogram of the clipped ones.

    Without zeros, which every grid has: of the many that ReLU leaves a grid would be blamed that
    spreads them over all the bins that it rounds to 0, which rewards any clipping.
    """
    ends = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    counts, borders = np.histogram(values[values != 0], bins=BINS, range=ends)
    middles = (borders[1:] + borders[:-1]) / 2

    def loss(grid: ActGrid) -> float:
        level = np.floor(middles / grid.step + 0.5).astype(np.int64) + grid.zero_point
        first, last = np.searchsorted(level, [0, 1 << grid.bits])
        inside, level = counts[first:last], level[first:last]
        if not inside.any():  # all values lie away from 0, beyond this grid
            return float("inf")
        clipped = inside.astype(np.float64)
        clipped[0] += counts[:first].sum()
        clipped[-1] += counts[last:].sum()
        taken = inside > 0
        spread = np.bincount(level, inside) / np.maximum(np.bincount(level, taken), 1)
        p = clipped / clipped.sum()
        q = np.where(taken, spread[level], 0.0) / inside.sum() + _SMOOTHING
        return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())

    return loss


class RangeQuantizer(nn.Module):
    """Fake quantiser of one tensor at any width; passes values on in float until it has a grid.

    Parameters
    ----------
    rectified : bool
        Whether it stands in for a ReLU: negative values become 0.
    most : float
        Largest value, 6 where it stands in for a ReLU6.
    grid : ActGrid, optional
        A grid that calibration leaves alone, that of the image.
    """

    def __init__(
        self, *, rectified: bool, most: float = math.inf, grid: ActGrid | None = None
    ) -> None:
        super().__init__()
        self.rectified = rectified
        self.most = most
        self.fixed = grid is not None
        self.grid = grid
        self.observing = False
        self.sample = SAMPLE
        self.batches: list[Values] = []
        self.ends: list[Ends] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map float to float of the same shape."""
        x = x.clamp(0, self.most) if self.rectified else x
        if self.observing and not self.fixed:
            flat = x.detach().flatten()
            self.batches.append(flat[:: -(-flat.numel() // self.sample)].numpy().copy())
            low, high = flat.aminmax()
            self.ends.append((float(low), float(high)))
            return x
        return x if self.grid is None else self.grid.nearest(x)

    def fit(self, calibration: Calibration, bits: int) -> None:
        """Choose the grid from what was observed."""
        if self.batches:
            self.grid = act_range(self.batches, calibration, bits, ends=self.ends)
            self.batches, self.ends = [], []
