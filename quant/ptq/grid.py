"""The grid of a layer's weights: integers within limits, a scale and a zero point per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.quantizer import TWO_BIT_CLIP

Matrix = NDArray[np.float64]

BITS = (2, 3, 4, 6, 8)
"""Weight widths that can be optimised; the array has no 3 bit (`hw.precision.WeightMode`)."""

_LEAST_SCALE = 1e-12


@dataclass(frozen=True, kw_only=True)
class IntegerRange:
    """Integers of signed weights.

    Parameters
    ----------
    bits : int
        Width, one of `BITS`.
    narrow : bool
        Whether the most negative integer stays unused.
    """

    bits: int
    narrow: bool

    def __post_init__(self) -> None:
        """Check the width."""
        if self.bits not in BITS:
            known = ", ".join(map(str, BITS))
            raise ValueError(f"weight bits must be one of {known}, not {self.bits}")

    @property
    def low(self) -> int:
        """Smallest integer."""
        return -self.high if self.narrow else -self.high - 1

    @property
    def high(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightGrid:
    """Values that a layer's weights may take: ``scale * (q - zero_point)``.

    Parameters
    ----------
    range : IntegerRange
        Limits of q.
    scale : float64 [M]
        Positive; exact in float32.
    zero_point : float64 [M]
        Whole numbers within the limits; 0 for a symmetric grid.
    """

    range: IntegerRange
    scale: Matrix
    zero_point: Matrix

    @classmethod
    def symmetric(cls, weight: Matrix, integers: IntegerRange) -> WeightGrid:
        """Grid per output channel, zero point 0, by the rule of `quant.quantizer.weight_scale`.

        Parameters
        ----------
        weight : float64 [M, K]
        integers : IntegerRange
        """
        widest = np.maximum(weight.max(axis=1) / integers.high, weight.min(axis=1) / integers.low)
        share = TWO_BIT_CLIP if integers.bits == 2 else 1.0
        scale = np.maximum(widest * share, _LEAST_SCALE).astype(np.float32).astype(np.float64)
        return cls(range=integers, scale=scale, zero_point=np.zeros_like(scale))

    def rows(self, part: slice | NDArray[np.intp]) -> WeightGrid:
        """Return the grid of some of the channels."""
        return WeightGrid(
            range=self.range, scale=self.scale[part], zero_point=self.zero_point[part]
        )

    def units(self, weight: Matrix) -> Matrix:
        """Weights [M, K] in steps of their channel, zero point added: float64 [M, K]."""
        return weight / self.scale[:, None] + self.zero_point[:, None]

    def nearest(self, units: Matrix) -> Matrix:
        """Round units, float64 of any shape, to the nearest integer of the range, halves up."""
        whole = np.floor(units + 0.5)
        np.maximum(whole, self.range.low, out=whole)
        np.minimum(whole, self.range.high, out=whole)
        return whole

    def values(self, integers: NDArray[np.generic]) -> Matrix:
        """Weights that integers [M, K] stand for, float64."""
        return (integers.astype(np.float64) - self.zero_point[:, None]) * self.scale[:, None]
