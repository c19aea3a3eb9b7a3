"""Sensitivity-aware quantisation: clusters of columns in falling order of sensitivity.

The idea is that of arXiv 2509.05576 (PRCV 2025): parameters of high sensitivity first, so that
those of low sensitivity, still free, absorb their error; one order of columns and one inverse
Hessian for all rows. Of the paper's sensitivity, clusters and updates no more is known to us, so
the algorithm is ours:

1. Order. Sensitivity is what a unit error of a column costs once the columns after it have followed
   (`quant.ptq.hessian.sensitivity_factor`): ranked anew after each cluster, and found together with
   the triangular factor that the sweep needs, so no inverse is ever formed.
2. Sweep. Cluster after cluster, all rows at once; per cluster each row keeps the best of a few
   roundings (`quant.ptq.sweep.sweep`).
3. Repair. Single steps, then pairs of steps, as long as they lower a row's error
   (`quant.ptq.descent.Descent`): the least sensitive columns, last in the sweep, had none left to
   absorb theirs, which matters most where weights are clipped.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from quant.ptq.descent import Descent
from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import DAMPING, damped, sensitivity_factor
from quant.ptq.sweep import sweep

Matrix = NDArray[np.float64]

CLUSTER = 64
"""Columns that are ranked and settled together."""

ALTERNATIVES = 8
"""Reversed decisions that each row tries per cluster."""

ROUNDS = 16
"""Steps of repair per row, at most, of each kind."""

FIRSTS = 2
"""First steps that are tried for a pair."""


def sensitivity(
    weight: Matrix,
    hessian: Matrix,
    grid: WeightGrid,
    *,
    damping: float = DAMPING,
    cluster: int = CLUSTER,
    alternatives: int = ALTERNATIVES,
    rounds: int = ROUNDS,
) -> Matrix:
    """Choose integers, most sensitive columns first; see the module.

    Parameters
    ----------
    weight : float64 [M, K]
    hessian : float64 [K, K]
        Without dead columns.
    grid : WeightGrid
        Of the M rows.
    damping : float
        Share of the mean diagonal added to the diagonal (`quant.ptq.hessian.damped`).
    cluster, alternatives, rounds : int
        As the module's constants; 0 leaves alternatives or repair out.

    Returns
    -------
    float64 [M, K]
        Whole numbers.
    """
    factorise = partial(_factorised, cluster=cluster)
    definite, order, factor = damped(hessian, damping, factorise)
    low, high = float(grid.range.low), float(grid.range.high)
    units = grid.units(weight)
    columns = np.ascontiguousarray(units[:, order].T)
    found = sweep(columns, factor, low, high, cluster=cluster, alternatives=alternatives)
    integers = np.empty_like(units)
    integers[:, order] = found.T
    if rounds:
        descent = Descent(units, integers, definite, low, high)
        descent.singles(rounds)
        descent.pairs(rounds, firsts=FIRSTS)
    return integers


def _factorised(definite: Matrix, *, cluster: int) -> tuple[Matrix, NDArray[np.intp], Matrix]:
    return definite, *sensitivity_factor(definite, cluster)
