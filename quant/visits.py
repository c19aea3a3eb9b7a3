"""Allocations that a search has visited, and which of them is the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hw.precision import WeightMode
from quant.allocation import Acts, Allocation
from quant.budget import Budget
from quant.objective import Objective
from quant.resources import Resource
from synth.table import LayerCost


@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """An allocation with what was measured of it.

    Parameters
    ----------
    label : str
        What led there, for example ``phase 2: size``.
    bits : mapping of str to WeightMode
        Precision of every layer.
    drop : float
        Float accuracy minus its own, both on the validation images, fractions.
    use : mapping of Resource to float
        What it takes of each additive resource that the table can price.
    cost : LayerCost
        Of one inference on the table's array.
    state : object
        The network after its short training; the start of the next one.
    objective : Objective
        The cost that the search makes small.
    acts : mapping of str to int
        Bits of activations, by tensor.
    """

    label: str
    bits: Mapping[str, WeightMode]
    drop: float
    use: Mapping[Resource, float]
    cost: LayerCost
    state: Any = None
    objective: Objective = Objective.ENERGY
    acts: Acts = field(default_factory=dict)

    @property
    def allocation(self) -> Allocation:
        """Bits of weights and activations."""
        return Allocation(bits=self.bits, acts=self.acts)

    @property
    def price(self) -> float:
        """What the objective makes of the cost."""
        return self.objective.of(self.cost)


Evaluate = Callable[[Mapping[str, WeightMode], str, Visit | None], Visit]
"""Recalibrate, train shortly and measure an allocation, from another visit's state: (bits, label,
start). May raise `OutOfSteps` when the training budget is spent."""


class OutOfStepsError(Exception):
    """The training steps set apart for the search are spent; internal, never shown."""


def best_visit(visits: Iterable[Visit], budget: Budget, *, margin: float) -> Visit:
    """Choose among visits; ours.

    Those that meet all targets, the accuracy by at least `margin`, come first, the lowest price
    (energy, where the table knows it) before higher ones. Then those that meet all. Then the
    others, by the largest of their misses, each relative to its target (a drop relative to at
    least 0.01).

    Parameters
    ----------
    visits : iterable of Visit
        At least one.
    budget : Budget
        The targets.
    margin : float
        Accuracy to spare, since validation images are a sample; a fraction.
    """

    def rank(visit: Visit) -> tuple[int, float, float]:
        if budget.met(drop=visit.drop + margin, use=visit.use):
            return 0, visit.price, visit.drop
        if budget.met(drop=visit.drop, use=visit.use):
            return 1, visit.drop, visit.price
        drop_miss = (visit.drop - budget.max_drop) / max(budget.max_drop, 0.01)
        use_miss = budget.load(visit.use) - 1
        return 2, max(drop_miss, use_miss), visit.price

    return min(visits, key=rank)
