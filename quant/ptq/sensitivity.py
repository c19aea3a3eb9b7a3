"""Sensitivity-aware quantisation: columns in falling order of sensitivity, all rows at once."""

from __future__ import annotations

import torch
from torch import Tensor

from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import DAMPING, damped, sweep_factor
from quant.ptq.sweep import descend, sweep


def sensitivity(
    weight: Tensor, hessian: Tensor, grid: WeightGrid, *, damping: float = DAMPING
) -> Tensor:
    """Choose integers, most sensitive columns first; the less sensitive make up for their errors.

    The sensitivity of a column is the error that a step in it costs after all columns that are
    still free have followed: ``1 / inverse(hessian)[j, j]``.

    Parameters
    ----------
    weight : float [M, K]
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
    definite = damped(hessian, damping)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(definite))
    order = inverse.diagonal().argsort(stable=True)
    ordered = definite[order][:, order]
    units = grid.units(weight)[:, order].T.contiguous()  # [K, M]
    low, high = grid.range.low, grid.range.high
    integers = sweep(units, sweep_factor(ordered), low, high)
    integers = descend(units, integers, ordered, low, high)
    result = torch.empty_like(integers)
    result[order] = integers
    return result.T
