"""AdaRound (Nagel et al., arXiv 2004.10568): learns for each weight whether to round up or down.

The paper lets data through the layer; ours takes the same gradient from the layer's Hessian, which
is exact for the squared error of a linear layer. The error is counted in units of that of rounding
to nearest, so that one weight of the regulariser suits all layers. Ours, too.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from quant.ptq.grid import WeightGrid

Matrix = NDArray[np.float64]

ITERATIONS = 500
RATE = 0.1
"""Learning rate of Adam; ours, for a fortieth of the paper's iterations."""

WARM = 0.2
"""Share of the iterations without the regulariser, as in the paper."""

REGULARISER = 10.0
"""Weight of the regulariser, where rounding to nearest costs 1 per weight; ours, of 0.001 to 10."""

BETA = (20.0, 2.0)
"""Exponent of the regulariser, from the end of the warm-up to the end, as in the paper."""

_LOW, _HIGH = -0.1, 1.1
"""What the stretched sigmoid spans before it is cut to 0..1, as in the paper."""


def adaround(
    weight: Matrix, hessian: Matrix, grid: WeightGrid, *, iterations: int = ITERATIONS
) -> Matrix:
    """Choose between the integers below and above each weight.

    Parameters
    ----------
    weight : float64 [M, K]
    hessian : float64 [K, K] or [G, K, K]
        Without dead columns; may be singular. G of them: one for each of as many equal groups of
        rows, which are learned at once and do not depend on each other.
    grid : WeightGrid
        Of the M rows.
    iterations : int
        Steps of Adam.

    Returns
    -------
    float64 [M, K]
        Whole numbers.
    """
    squares = torch.from_numpy(hessian).reshape(-1, *hessian.shape[-2:])
    groups = len(squares)
    units = torch.from_numpy(grid.units(weight)).reshape(groups, -1, weight.shape[1])
    gain = torch.from_numpy(np.square(grid.scale)).reshape(groups, -1, 1)
    low, high = float(grid.range.low), float(grid.range.high)
    below = units.floor()
    share = (units - below).clamp(0.01, 0.99)
    start = torch.logit((share - _LOW) / (_HIGH - _LOW))
    nearest = torch.from_numpy(grid.nearest(units.numpy()))
    off = nearest - units
    unit = (off @ squares * off * gain).sum(dim=(1, 2))  # [G]
    weigh = torch.where(unit > 0, 1 / unit, 0.0)
    choice = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([choice], lr=RATE)
    for step in range(iterations):
        up = (torch.sigmoid(choice) * (_HIGH - _LOW) + _LOW).clamp(0, 1)
        error = (below + up).clamp(low, high) - units
        squared = (error @ squares * error * gain).sum(dim=(1, 2))
        loss = (squared * weigh).sum() * (units.numel() / groups)
        done = (step / iterations - WARM) / (1 - WARM)
        if done >= 0:
            beta = BETA[1] + (BETA[0] - BETA[1]) * 0.5 * (1 + float(np.cos(np.pi * done)))
            loss = loss + REGULARISER * (1 - (2 * up - 1).abs().pow(beta)).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    chosen = (below + (choice.detach() >= 0)).clamp(low, high)
    chosen[unit == 0] = nearest[unit == 0]
    whole: Matrix = chosen.reshape(weight.shape).numpy()
    return whole
