"""Round to nearest: no statistics, each weight on its own."""

from __future__ import annotations

from torch import Tensor

from quant.ptq.grid import WeightGrid


def round_to_nearest(weight: Tensor, grid: WeightGrid) -> Tensor:
    """Integers nearest to the weights, halves up; float64 [M, K] of float [M, K]."""
    return grid.nearest(grid.units(weight))
