"""Optimal brain quantisation (Frantar, Alistarh, arXiv 2208.11580): exact, greedy, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger

from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import DAMPING, damped, inverse

Matrix = NDArray[np.float64]

_HALF = 0.5 + 1e-9
"""Largest error in steps of a weight that is not clipped."""


def obq(weight: Matrix, hessian: Matrix, grid: WeightGrid, *, damping: float = DAMPING) -> Matrix:
    """Choose the weights of each row one at a time; those left make up for each error.

    Next is the weight whose rounding costs least, ``error**2 / inverse[q, q]``, or, while there is
    one beyond half a step (a clipped outlier), that of the largest error. The inverse Hessian of
    the weights left is updated after each: M * K^3 operations in all.

    Parameters
    ----------
    weight : float64 [M, K]
    hessian : float64 [K, K]
        Without dead columns.
    grid : WeightGrid
        Of the M rows.
    damping : float
        Share of the mean diagonal added to the diagonal (`quant.ptq.hessian.damped`).

    Returns
    -------
    float64 [M, K]
        Whole numbers.
    """
    start = np.asfortranarray(damped(hessian, damping, inverse))
    return np.stack([_row(row, start, grid) for row in grid.units(weight)])


def _row(units: Matrix, inverse_hessian: Matrix, grid: WeightGrid) -> Matrix:
    units, left = units.copy(), inverse_hessian.copy(order="F")
    chosen = np.zeros(len(units), dtype=bool)
    diagonal = left.diagonal()  # a view: follows `left`
    for _ in range(len(units)):
        nearest = grid.nearest(units)
        error = nearest - units
        size = np.where(chosen, -1.0, np.abs(error))
        q = int(size.argmax())
        if size[q] <= _HALF:
            score = np.full(len(units), np.inf)
            np.divide(np.square(error), diagonal, out=score, where=~chosen)
            q = int(score.argmin())
        column = left[:, q].copy()
        units += error[q] / column[q] * column
        units[q], chosen[q] = nearest[q], True
        left = dger(-1 / column[q], column, column, a=left, overwrite_a=1)
        left[:, q] = left[q, :] = 0.0
        diagonal = left.diagonal()
    return units
