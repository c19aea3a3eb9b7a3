"""Damping, and the triangular factors that column sweeps run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotri

Matrix = NDArray[np.float64]
Result = TypeVar("Result")

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal, as in GPTQ (arXiv 2210.17323)."""

_MORE = 10.0
_LEAST_DAMPING = 1e-10


def damped(hessian: Matrix, damping: float, factorise: Callable[[Matrix], Result]) -> Result:
    """Add a share of the mean diagonal to the diagonal and factorise; ten times more if it fails.

    Parameters
    ----------
    hessian : float64 [K, K]
        Positive semidefinite, without dead columns.
    damping : float
        Share, at least 0; where 0 is too little, 1e-10 is tried next.
    factorise : callable
        Raises `numpy.linalg.LinAlgError` for a matrix that is not positive definite.

    Raises
    ------
    ValueError
        If `damping` is negative or not finite, or the matrix is not finite or all 0.
    """
    if not 0 <= damping < np.inf:
        raise ValueError(f"damping must be at least 0 and finite, not {damping}")
    if not np.isfinite(hessian).all():
        raise ValueError("hessian must be finite, not infinite or NaN")
    mean = float(hessian.diagonal().mean())
    if mean <= 0:
        raise ValueError(f"hessian must have a positive mean diagonal, not {mean}")
    while True:
        definite = hessian.copy()
        definite.flat[:: len(definite) + 1] += damping * mean
        try:
            return factorise(definite)
        except np.linalg.LinAlgError:
            damping = max(damping * _MORE, _LEAST_DAMPING)


def inverse(definite: Matrix) -> Matrix:
    """Inverse of a positive definite matrix by its Cholesky factor, float64 [K, K], symmetric."""
    lower = np.linalg.cholesky(definite)
    half, _ = dpotri(np.asfortranarray(lower), lower=1, overwrite_c=1)
    below = np.tril(half, -1)
    result: Matrix = below + below.T + np.diag(half.diagonal())
    return result


def sensitivity_factor(definite: Matrix, cluster: int) -> tuple[NDArray[np.intp], Matrix]:
    """Order columns by sensitivity, most sensitive first, and factorise in that order.

    The sensitivity of a column is its variance given the columns that are settled after it: what a
    unit error in it costs once these have followed. Found from the end: the `cluster` columns of
    least variance come last; the variances of all others given these rank the next cluster. The sum
    of all sensitivities, 12 times the error that rounding is expected to make, comes out least when
    they are alike, their product being the determinant whatever the order. Ours; the rule is that
    of sorted QR decompositions for successive cancellation (Wübben et al. 2001), in clusters.

    Parameters
    ----------
    definite : float64 [K, K]
        Symmetric, positive definite.
    cluster : int
        Columns between two rankings.

    Returns
    -------
    int [K]
        Order of the columns.
    float64 [K, K]
        Upper triangular V with ``definite[order][:, order] = V V^T``. The error of a row e is then
        the sum over j of ``(V[:j + 1, j] @ e[:j + 1])**2``: term j depends on no later column.
        ``V[j, j]**2`` is the sensitivity of column j, and the inverse of V^T what GPTQ factorises
        an inverse for.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not positive definite.
    """
    depth = len(definite)
    order = np.arange(depth)
    variance = definite.diagonal().copy()
    factor = np.zeros((depth, depth))  # rows are moved as the order is found
    for stop in range(depth, 0, -cluster):
        start = max(0, stop - cluster)
        least = np.argsort(variance[:stop], kind="stable")[: stop - start][::-1]
        target, source = _to_the_end(least, start, stop)
        for values in (order, variance, factor[:, stop:]):
            values[target] = values[source]
        part = slice(start, stop)
        cross = definite[order[part]].take(order[:stop], axis=1)  # [cluster, stop]
        cross -= factor[part, stop:] @ factor[:stop, stop:].T
        corner = np.linalg.cholesky(cross[::-1, part][:, ::-1])[::-1, ::-1]
        factor[part, part] = corner
        if start:
            above = solve_triangular(corner, cross[:, :start], check_finite=False)
            variance[:start] -= np.einsum("ij,ij->j", above, above)
            factor[:start, part] = above.T
    return order, factor


def _to_the_end(
    chosen: NDArray[np.intp], start: int, stop: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return places, and where their content comes from, for `chosen` to come to start..stop."""
    last = np.arange(start, stop)
    elsewhere = np.ones(stop, dtype=bool)
    elsewhere[chosen] = False
    target = np.concatenate([chosen[chosen < start], last])
    source = np.concatenate([last[elsewhere[start:]], chosen])
    return target, source
