"""One pass over the columns in a given order, each rounded after the errors before it."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
"""Columns whose mutual corrections are applied one by one; the rest by a matrix product."""


def sweep(units: Tensor, factor: Tensor, low: float, high: float) -> Tensor:
    """Round columns from first to last; later ones make up for the error so far.

    Column j is rounded where the error of all, with the columns after j free to follow, is least:
    at ``units[j] - V[:j, j] @ error[:j] / V[j, j]``. This is GPTQ's sweep (arXiv 2210.17323), which
    is Babai's nearest plane, on the factor of the Hessian itself.

    Parameters
    ----------
    units : float64 [K, M]
        Weights in steps of their channel, columns of the layer first.
    factor : float64 [K, K]
        V of `quant.ptq.hessian.sweep_factor`, same order of columns.
    low, high : float
        Limits of the integers.

    Returns
    -------
    float64 [K, M]
        Whole numbers.
    """
    share = factor / factor.diagonal()
    integers, error = torch.empty_like(units), torch.empty_like(units)
    for start in range(0, len(units), BLOCK):
        stop = min(start + BLOCK, len(units))
        target = units[start:stop] - share[:start, start:stop].T @ error[:start]
        within = share[start:stop, start:stop].T.contiguous()
        for j in range(stop - start):
            done = slice(start, start + j)
            aim = target[j].addmv(error[done].T, within[j, :j], alpha=-1) if j else target[j]
            integers[start + j] = aim.add_(0.5).floor_().clamp_(low, high)
            torch.sub(integers[start + j], units[start + j], out=error[start + j])
    return integers


def descend(units: Tensor, integers: Tensor, hessian: Tensor, low: float, high: float) -> Tensor:
    """Round each column again, from last to first, given all others as they are.

    A pass of coordinate descent on the quadratic form: no step makes the error of a row larger.

    Parameters
    ----------
    units, integers : float64 [K, M]
        Weights in steps of their channel, and where they are now.
    hessian : float64 [K, K]
        Same order of columns.
    low, high : float
        Limits of the integers.

    Returns
    -------
    float64 [K, M]
        Whole numbers.
    """
    integers = integers.clone()
    slope = hessian @ (integers - units)  # [K, M]
    diagonal = hessian.diagonal()
    for stop in range(len(units), 0, -BLOCK):
        start = max(0, stop - BLOCK)
        block, moved = slice(start, stop), torch.zeros(stop - start, units.shape[1]).double()
        within = hessian[block, block]
        for j in range(stop - start - 1, -1, -1):
            here = slope[start + j] + moved[j + 1 :].T @ within[j, j + 1 :]
            before = integers[start + j].clone()
            aim = before - here / diagonal[start + j]
            integers[start + j] = aim.add_(0.5).floor_().clamp_(low, high)
            torch.sub(integers[start + j], before, out=moved[j])
        slope[:start] += hessian[:start, block] @ moved
    return integers
