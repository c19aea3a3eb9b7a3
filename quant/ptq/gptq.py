"""GPTQ (Frantar et al., arXiv 2210.17323): one order of columns for all rows, errors fed forward.

This is the method as published, the baseline of the benchmark: Cholesky factor of the inverse
Hessian, corrections lazily in blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import DAMPING, damped

BLOCK = 128
"""Columns whose mutual corrections are applied one by one, as in the paper."""


def gptq(
    weight: Tensor,
    hessian: Tensor,
    grid: WeightGrid,
    *,
    act_order: bool,
    damping: float = DAMPING,
) -> Tensor:
    """Choose integers column by column; the columns after make up for each error.

    With U the upper Cholesky factor of the inverse Hessian, the error of column j divided by
    ``U[j, j]`` is subtracted from column k, ``U[j, k]`` times.

    Parameters
    ----------
    weight : float [M, K]
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
    order = torch.arange(len(hessian))
    if act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    definite = damped(hessian, damping)[order][:, order]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(definite))
    factor = torch.linalg.cholesky(inverse, upper=True)
    units = grid.units(weight)[:, order].T.contiguous()  # [K, M]
    chosen = torch.empty_like(units)
    for start in range(0, len(units), BLOCK):
        stop = min(start + BLOCK, len(units))
        errors = torch.empty(stop - start, units.shape[1], dtype=torch.float64)
        for j in range(start, stop):
            chosen[j] = grid.nearest(units[j])
            errors[j - start] = (units[j] - chosen[j]) / factor[j, j]
            units[j + 1 : stop].addr_(factor[j, j + 1 : stop], errors[j - start], alpha=-1)
        units[stop:] -= factor[start:stop, stop:].T @ errors
    result = torch.empty_like(chosen)
    result[order] = chosen
    return result.T
