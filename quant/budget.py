"""What the user allows: loss of accuracy, and any mix of resources.

All inequalities of a search are in `load`, the largest of its resources' uses over their limits:

    load = max over r of use_r / limit_r            (0 where nothing is limited)
    accuracy met:   drop <= max_drop                resources met:   load <= 1

each with 1e-9 to spare for rounding. With the size alone, load <= 1 is the paper's s <= S.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quant.resources import Resource

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Targets of a search.

    Parameters
    ----------
    max_drop : float
        Largest loss of top-1 accuracy against the float network, a fraction.
    limits : mapping of Resource to float
        Largest use of each limited resource, in its unit, positive.

    Raises
    ------
    ValueError
        If a target is outside its range or not a number, which no allocation could change.
    """

    max_drop: float = 0.01
    limits: Mapping[Resource, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what can never be met and what asks for nothing."""
        check_drop(self.max_drop)
        for resource, limit in self.limits.items():
            if not 0 < limit < float("inf"):
                raise ValueError(f"{resource.option} must be above 0, not {limit:g}")

    def load(self, use: Mapping[Resource, float]) -> float:
        """Return the largest of the uses over their limits."""
        return max((use[r] / limit for r, limit in self.limits.items()), default=0.0)

    def worst(self, use: Mapping[Resource, float]) -> Resource:
        """Return the resource whose use is largest over its limit; at least one has a limit."""
        return max(self.limits, key=lambda resource: use[resource] / self.limits[resource])

    def drop_met(self, drop: float) -> bool:
        """Whether a drop is small enough."""
        return drop <= self.max_drop + ROUNDING

    def uses_met(self, use: Mapping[Resource, float]) -> bool:
        """Whether all limits are kept."""
        return self.load(use) <= 1 + ROUNDING

    def met(self, *, drop: float, use: Mapping[Resource, float]) -> bool:
        """Whether all targets are met."""
        return self.drop_met(drop) and self.uses_met(use)


def check_drop(max_drop: float) -> None:
    """Refuse a target of accuracy that is out of range.

    Raises
    ------
    ValueError
        One line.
    """
    if not 0 <= max_drop < 1:
        raise ValueError(
            f"max_drop must be from 0 (no loss, the smallest that can be asked) to below 1, "
            f"not {max_drop:g}"
        )
