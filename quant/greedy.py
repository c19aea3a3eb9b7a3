"""Greedy allocation: one threshold on every layer's own sensitivity, found by bisection.

Each layer takes the fewest bits at which its sensitivity stays below the threshold, and so does
each activation that has a choice; the smallest threshold whose allocation keeps all limits is
found by bisection over the sensitivities that occur. Uses that do not fall with the bits, which
real hardware need not, are taken as they are: then the bisection finds a threshold at which the
limits hold, not necessarily the smallest. Ours; thresholds on one layer's loss at a time are common
in tools for mixed precision.
"""

from __future__ import annotations

from quant.allocation import Allocation
from quant.budget import Budget
from quant.menu import Menu
from quant.milp import ActSensitivity, Sensitivity


def greedy(
    menu: Menu,
    budget: Budget,
    sensitivity: Sensitivity,
    *,
    acts: ActSensitivity | None = None,
) -> Allocation | None:
    """Return the greedy allocation, or None if even the largest threshold breaks a limit.

    Parameters
    ----------
    menu : Menu
        Choices and their uses.
    budget : Budget
        The limits; the drop plays no part.
    sensitivity : mapping
        Of each layer at each of its choices.
    acts : mapping, optional
        Of each activation that has a choice, at each of its bits.
    """
    losses = acts or {}

    def at(threshold: float) -> Allocation:
        bits = {
            name: next((m for m in modes if sensitivity[name][m] <= threshold), modes[-1])
            for name, modes in menu.choices.items()
        }
        chosen = {
            tensor: next((b for b in options if losses[tensor][b] <= threshold), options[-1])
            for tensor, options in menu.act_choices.items()
        }
        return Allocation(bits=bits, acts=menu.with_acts(chosen))

    def kept(threshold: float) -> bool:
        found = at(threshold)
        return budget.uses_met(menu.total(found.bits, found.acts))

    levels = sorted(
        {sensitivity[n][m] for n, modes in menu.choices.items() for m in modes}
        | {losses[t][b] for t, options in menu.act_choices.items() for b in options}
    )
    if not kept(levels[-1]):
        return None
    low, high = -1, len(levels) - 1  # limits hold at levels[high], and not, or unknown, at low
    while high - low > 1:
        middle = (low + high) // 2
        if kept(levels[middle]):
            high = middle
        else:
            low = middle
    return at(levels[high])
