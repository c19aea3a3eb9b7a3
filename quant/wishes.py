"""The budgets as the user gave them, before network and hardware turn shares into values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hw.precision import WeightMode
from quant.budget import Budget, check_drop
from quant.errors import QuantError
from quant.menu import Menu
from quant.resources import Limit, Resource
from synth.table import CostTable

_NAMES = {
    Resource.ENERGY: "energy_pj",
    Resource.LATENCY: "latency_ns",
    Resource.AREA: "area_um2",
}
"""What `CostTable.unavailable` calls a resource; sizes and BOPs are always known."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """Targets of a search, shares not yet resolved.

    Parameters
    ----------
    max_drop : float
        Largest loss of top-1 accuracy, a fraction.
    limits : mapping of Resource to Limit
        As given.
    """

    max_drop: float = 0.01
    limits: Mapping[Resource, Limit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a drop that no allocation could change."""
        check_drop(self.max_drop)

    def budget(self, menu: Menu) -> Budget:
        """Resolve the shares of all additive resources; area is apart (`quant.hardware`).

        They are of weights at 8 bit and activations at all bits that the hardware takes.
        """
        eight = menu.total(dict.fromkeys(menu.names, WeightMode.W8), acts={})
        return Budget(
            max_drop=self.max_drop,
            limits={
                r: limit.absolute(eight.get(r, 1.0))
                for r, limit in self.limits.items()
                if r is not Resource.AREA
            },
        )

    def check_priced(self, table: CostTable, modes: tuple[WeightMode, ...]) -> None:
        """Refuse a budget that a table cannot price.

        Raises
        ------
        QuantError
            One line that names the budget, the table and the field that it misses.
        """
        for resource, limit in self.limits.items():
            needed = modes
            if limit.relative and resource in (Resource.ENERGY, Resource.LATENCY):
                if WeightMode.W8 not in table.modes:
                    raise QuantError(
                        f"{resource.option} must be absolute, such as 10{resource.unit}, since "
                        f"{table.name} has no 8-bit mode to compare with"
                    )
                needed = (*modes, WeightMode.W8)
            field_name = _missing(table, resource, needed)
            if field_name:
                raise QuantError(
                    f"{resource.option} cannot be priced: {table.name} misses {field_name}"
                )


def _missing(table: CostTable, resource: Resource, modes: tuple[WeightMode, ...]) -> str | None:
    """Return the first field that a table of some precisions needs to price a resource."""
    for gap in table.unavailable:
        costs, _, at = gap.cost.partition(" at ")
        if _NAMES.get(resource) not in re.split(r",\s*", costs) or gap.needs.startswith(
            "baselines."
        ):
            continue
        if not at or at in {mode.name for mode in modes}:
            return gap.needs
    return None
