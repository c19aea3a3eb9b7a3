"""What a search saves once its targets are met: the best cost that the hardware's table gives."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from synth.table import LayerCost


class Objective(Enum):
    """A cost to be made small; the value is its name in `LayerCost`. In order of preference."""

    ENERGY = "energy_pj"
    LATENCY = "latency_ns"
    CYCLES = "cycles"
    SIZE = "size_bits"

    @property
    def label(self) -> str:
        """Name for people."""
        return self.name.lower()

    def of(self, cost: LayerCost) -> float:
        """Return this cost.

        Raises
        ------
        ValueError
            If the table could not give it.
        """
        value = getattr(cost, self.value)
        if value is None:
            raise ValueError(f"{self.value} must be known, but the cost table does not give it")
        return float(value)


def best_known(costs: Iterable[LayerCost]) -> Objective:
    """Return the first objective that all of some costs know; ours.

    Size is always known.
    """
    known = list(costs)
    return next(
        objective
        for objective in Objective
        if all(getattr(cost, objective.value) is not None for cost in known)
    )
