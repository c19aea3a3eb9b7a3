"""Damping, dead columns and the triangular factor that all column sweeps share."""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 0.01
"""Share of the mean diagonal that is added to the diagonal, as in GPTQ (arXiv 2210.17323)."""

_MORE = 10.0


def live_columns(hessian: Tensor) -> Tensor:
    """Columns whose input was ever other than 0: bool [K], from float64 [K, K]."""
    return hessian.diagonal() > 0


def damped(hessian: Tensor, damping: float) -> Tensor:
    """Add a share of the mean diagonal to the diagonal, ten times more until it is definite.

    Parameters
    ----------
    hessian : float64 [K, K]
        Positive semidefinite, without dead columns.
    damping : float
        Share, at least 0; where 0 is not enough, 1e-10 is tried next.

    Returns
    -------
    float64 [K, K]
        Positive definite.
    """
    mean = float(hessian.diagonal().mean())
    while True:
        result = hessian.clone()
        result.diagonal().add_(damping * mean)
        _, failed = torch.linalg.cholesky_ex(result)
        if not int(failed):
            return result
        damping = max(damping * _MORE, 1e-10)


def sweep_factor(hessian: Tensor) -> Tensor:
    """Upper triangular V with hessian = V V^T, float64 [K, K].

    The squared error of an error row e is then the sum over j of ``(V[:j + 1, j] @ e[:j + 1])**2``:
    term j depends on no later column, so columns can be settled in order. ``V[j, j]**2`` is
    ``1 / inverse(hessian[j:, j:])[0, 0]``, what GPTQ divides by; its factor of the inverse is the
    inverse of V. So one Cholesky factorisation does for which GPTQ takes two and an inversion.
    """
    lower: Tensor = torch.linalg.cholesky(hessian.flip(0, 1))
    return lower.flip(0, 1)
