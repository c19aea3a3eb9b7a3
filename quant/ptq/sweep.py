"""Rounding of columns in a given order, each after the errors of those before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def round_columns(base: Matrix, within: Matrix, low: float, high: float) -> Matrix:
    """Round columns one after the other; each error moves the columns after it.

    Parameters
    ----------
    base : float64 [K, M]
        Where the columns are, plus 1/2, before any correction.
    within : float64 [K, K]
        Row j, left of its diagonal: what an integer of each earlier column takes from column j.
    low, high : float
        Limits of the integers.

    Returns
    -------
    float64 [K, M]
        Whole numbers.
    """
    integers = np.empty_like(base)
    for j, row in enumerate(integers):
        np.dot(within[j, :j], integers[:j], out=row)
        np.subtract(base[j], row, out=row)
        np.floor(row, out=row)
        np.maximum(row, low, out=row)
        np.minimum(row, high, out=row)
    return integers


def sweep(
    units: Matrix, factor: Matrix, low: float, high: float, *, cluster: int, alternatives: int
) -> Matrix:
    """Round columns cluster after cluster; later columns make up for the error so far.

    Column j is rounded where the error is least with all later columns free to follow, which is
    ``units[j] - factor[:j, j] @ error[:j] / factor[j, j]``: GPTQ's sweep (arXiv 2210.17323), or
    Babai's nearest plane. A near-tie in a cluster may be worth rounding the other way, for what
    follows from it; so each row also tries the cluster with each of its closest `alternatives`
    decisions reversed, and keeps the best. Ours.

    Parameters
    ----------
    units : float64 [K, M]
        Weights in steps of their channel, columns of the layer first.
    factor : float64 [K, K]
        V of `quant.ptq.hessian.sensitivity_factor`, same order of columns.
    low, high : float
        Limits of the integers.
    cluster : int
        Columns that are settled together.
    alternatives : int
        Reversed decisions to try per row and cluster; 0 for the plain sweep.

    Returns
    -------
    float64 [K, M]
        Whole numbers.
    """
    share = factor / factor.diagonal()
    cost = np.square(factor.diagonal())
    integers, error = np.empty_like(units), np.empty_like(units)
    for start in range(0, len(units), cluster):
        part = slice(start, min(start + cluster, len(units)))
        within = np.ascontiguousarray(np.triu(share[part, part]).T)
        base = within @ units[part] - share[:start, part].T @ error[:start] + 0.5
        found = round_columns(base, within, low, high)
        if alternatives:
            found = _best(base, within, cost[part], found, low, high, alternatives)
        integers[part] = found
        error[part] = found - units[part]
    return integers


def _best(
    base: Matrix,
    within: Matrix,
    cost: Matrix,
    nearest: Matrix,
    low: float,
    high: float,
    alternatives: int,
) -> Matrix:
    """Return the best of `nearest` and what follows from reversing one of its decisions."""
    depth, rows = nearest.shape
    count = min(alternatives, depth)
    residual = base - within @ nearest
    residual -= 0.5  # [K, M]
    way = np.where(residual >= 0, 1.0, -1.0)
    price = cost[:, None] * (1 - 2 * np.abs(residual))
    price[np.where(residual >= 0, nearest >= high, nearest <= low)] = np.inf
    tried = np.argpartition(price, count - 1, axis=0)[:count]  # [count, M]
    every = np.arange(rows)
    wide = np.repeat(base[:, None], count, axis=1)  # [K, count, M]
    wide[tried, np.arange(count)[:, None], every] += way[tried, every]
    others = round_columns(wide.reshape(depth, -1), within, low, high)
    rest = (within @ others).reshape(wide.shape)
    np.subtract((base - 0.5)[:, None], rest, out=rest)
    np.square(rest, out=rest)
    costs = np.empty((1 + count, rows))
    costs[0] = cost @ np.square(residual)
    costs[1:] = (cost @ rest.reshape(depth, -1)).reshape(count, rows)
    best = costs.argmin(axis=0)  # 0 stands for `nearest`
    picked = others.reshape(wide.shape)[:, np.maximum(best - 1, 0), every]
    return np.where(best == 0, nearest, picked)
