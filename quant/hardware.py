"""Which of several cost tables a search takes: the smallest array that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.catalog import CATALOG
from quant.budget import ROUNDING
from quant.cost import INT8_BASELINE, Prices
from quant.errors import QuantError
from quant.menu import Menu
from quant.resources import Limit, Resource
from quant.wishes import Wishes
from synth.table import ArrayFigures, CostTable


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One piece of hardware with the network priced on it.

    Parameters
    ----------
    path : Path
        File of the table.
    table : CostTable
        The hardware.
    prices : Prices
        Costs of the network's layers.
    menu : Menu
        Choices of the layers.
    """

    path: Path
    table: CostTable
    prices: Prices
    menu: Menu

    @property
    def area_um2(self) -> float | None:
        """Area of the array."""
        return self.table.array.area_um2

    @property
    def configuration(self) -> str | None:
        """Name in the catalogue of an array of this kind, rows, columns and lanes, if any."""
        if not isinstance(self.table.array, ArrayFigures):
            return None
        name = self.table.array.config.name
        return next((n for n, e in CATALOG.items() if e.config.array.name == name), None)

    def unreachable(self, wishes: Wishes) -> dict[Resource, float]:
        """Limits that no allocation keeps, each with the least that one takes; before training."""
        limits = wishes.budget(self.menu).limits
        return {
            resource: self.menu.smallest(resource)
            for resource, limit in limits.items()
            if self.menu.smallest(resource) > limit * (1 + ROUNDING)
        }


def area_limit_um2(limit: Limit, first: CostTable) -> float:
    """Return the largest area; shares are of the first table's INT8 MAC array.

    Raises
    ------
    QuantError
        If a share has nothing to be of.
    """
    if not limit.relative:
        return limit.value
    baseline = first.baselines.get(INT8_BASELINE)
    if baseline is None or baseline.area_um2 is None:
        raise QuantError(
            f"max_area cannot be priced: {first.name} misses baselines.{INT8_BASELINE}, "
            "of whose area it is a share; give it in um2 or mm2"
        )
    return limit.absolute(baseline.area_um2)


def pick(candidates: Sequence[Candidate], wishes: Wishes) -> Candidate:
    """Choose among candidates; ours.

    The smallest array whose area keeps `max_area`, if there is one, and on which all other limits
    can be reached. If there is none, the smallest whose area fits; if there is none either, the
    smallest.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one; areas known if there are several.
    wishes : Wishes
        The budgets.
    """
    if len(candidates) == 1:
        return candidates[0]
    order = sorted(candidates, key=lambda c: (c.area_um2 or 0.0, c.table.name))
    fitting = order
    if Resource.AREA in wishes.limits:
        most = area_limit_um2(wishes.limits[Resource.AREA], candidates[0].table)
        fitting = [c for c in order if (c.area_um2 or 0.0) <= most * (1 + ROUNDING)]
    reachable = [c for c in fitting if not c.unreachable(wishes)]
    return next(iter([*reachable, *fitting, *order]))
