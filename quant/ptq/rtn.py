"""Round to nearest: no statistics, each weight on its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.ptq.grid import WeightGrid


def round_to_nearest(weight: NDArray[np.float64], grid: WeightGrid) -> NDArray[np.float64]:
    """Integers nearest to the weights, halves up; float64 [M, K] of float64 [M, K]."""
    return grid.nearest(grid.units(weight))
