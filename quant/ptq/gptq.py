"""GPTQ (Frantar et al., arXiv 2210.17323): one order of columns for all rows, errors fed forward.

This is the method as published, the baseline of the benchmark: Cholesky factor of the inverse
Hessian, corrections of later columns lazily in blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import DAMPING, damped, inverse

Matrix = NDArray[np.float64]

BLOCK = 128
"""Columns whose mutual corrections are applied one by one, as in the paper."""


def gptq(
    weight: Matrix,
    hessian: Matrix,
    grid: WeightGrid,
    *,
    act_order: bool = False,
    damping: float = DAMPING,
) -> Matrix:
    """Choose integers column by column; the columns after make up for each error.

    With U the upper Cholesky factor of the inverse Hessian, the error of column j divided by
    ``U[j, j]`` is subtracted from column k, ``U[j, k]`` times.

    Parameters
    ----------
    weight : float64 [M, K]
    hessian : float64 [K, K]
        Without dead columns.
    grid : WeightGrid
        Of the M rows.
    act_order : bool
        Whether columns go by falling diagonal of the Hessian instead of from first to last.
    damping : float
        Share of the mean diagonal added to the diagonal (`quant.ptq.hessian.damped`).

    Returns
    -------
    float64 [M, K]
        Whole numbers.
    """
    order = np.arange(len(hessian))
    if act_order:
        order = np.argsort(-hessian.diagonal(), kind="stable")
    factor = damped(hessian[np.ix_(order, order)], damping, _inverse_factor)
    units = np.ascontiguousarray(grid.units(weight)[:, order].T)  # [K, M]
    chosen = np.empty_like(units)
    for start in range(0, len(units), BLOCK):
        stop = min(start + BLOCK, len(units))
        within = np.ascontiguousarray(factor[start:stop, start:stop].T)
        errors = np.empty((stop - start, units.shape[1]))
        for j in range(stop - start):
            aim = units[start + j]
            aim -= within[j, :j] @ errors[:j]
            chosen[start + j] = grid.nearest(aim)
            np.subtract(aim, chosen[start + j], out=errors[j])
            errors[j] /= within[j, j]
        units[stop:] -= factor[start:stop, stop:].T @ errors
    result = np.empty_like(chosen)
    result[order] = chosen
    return result.T


def _inverse_factor(definite: Matrix) -> Matrix:
    return np.linalg.cholesky(inverse(definite)).T.astype(np.float64, copy=False)
