"""Phase 1 of SigmaQuant (arXiv 2602.22136): bits from clusters of per-layer weight sigma.

The paper's objective, with balance pressure lambda:

    min  sum_j [ sum_{x in C_j} (x - mu_j)^2 + lambda (|C_j| - N/K)^2 ]

over K = 4 clusters of the N layers, mapped to {2, 4, 6, 8} bit: larger sigma, more bits. Lambda
starts at 0.1 (`quant.decisions`) and grows by 0.1 after each iteration that failed, three at most.

Ours, where the paper is silent:

- sigma is that of the weights with batch norm folded in, which are the weights that are quantised;
- x is sigma standardised over the layers (mean 0, variance 1), so that lambda means the same in
  every network;
- the objective is solved exactly. In one dimension, for given cluster sizes, the best clusters are
  neighbours in sorted order, so dynamic programming over the sorted layers finds the optimum; no
  random starts. Clusters may be empty. Of equal optima, the one with fewer bits is taken.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hw.precision import WeightMode

LAMBDA_STEP = 0.1
MAX_ITERATIONS = 3


def assign_bits(
    sigma: Mapping[str, float],
    *,
    balance: float,
    modes: tuple[WeightMode, ...] = tuple(WeightMode),
) -> dict[str, WeightMode]:
    """Cluster layers by sigma and give each cluster a precision.

    Parameters
    ----------
    sigma : mapping of str to float
        Standard deviation of each layer's weights.
    balance : float
        Lambda, the price of unequal cluster sizes, at least 0.
    modes : tuple of WeightMode
        Precisions, fewest bits first; as many clusters are formed.

    Returns
    -------
    dict of str to WeightMode
        In the order of `sigma`.
    """
    names = sorted(sigma, key=lambda name: (sigma[name], name))
    values = np.array([sigma[name] for name in names], dtype=np.float64)
    spread = float(values.std())
    x = (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
    sizes = _cluster_sizes(x, clusters=len(modes), balance=balance)
    ordered = [mode for mode, size in zip(modes, sizes, strict=True) for _ in range(size)]
    assigned = dict(zip(names, ordered, strict=True))
    return {name: assigned[name] for name in sigma}


def objective(x: np.ndarray, sizes: tuple[int, ...], *, balance: float) -> float:
    """Return the paper's objective for neighbouring clusters.

    Parameters
    ----------
    x : float64 [N]
        Sorted.
    sizes : tuple of int
        Layers of each cluster, in order; they add up to N.
    balance : float
        Lambda.
    """
    even = len(x) / len(sizes)
    total, start = 0.0, 0
    for size in sizes:
        total += _spread(x[start : start + size]) + balance * (size - even) ** 2
        start += size
    return total


def _cluster_sizes(x: np.ndarray, *, clusters: int, balance: float) -> tuple[int, ...]:
    """Sizes of the optimal clusters of sorted float64 [N]."""
    count = len(x)
    even = count / clusters
    price = {
        (start, stop): _spread(x[start:stop]) + balance * (stop - start - even) ** 2
        for start in range(count + 1)
        for stop in range(start, count + 1)
    }
    # best[n]: cost and sizes of the first n layers in the clusters so far
    best: list[tuple[float, tuple[int, ...]]] = [(price[0, n], (n,)) for n in range(count + 1)]
    for _ in range(1, clusters):
        best = [
            min(
                (
                    (best[cut][0] + price[cut, n], (*best[cut][1], n - cut))
                    for cut in range(n, -1, -1)
                ),
                key=lambda option: round(option[0], 12),
            )
            for n in range(count + 1)
        ]
    return best[count][1]


def _spread(values: np.ndarray) -> float:
    return float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
