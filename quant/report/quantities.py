"""Figures as text, with units that people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MISSING = "-"
"""Stands for a figure that nobody has given."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit of a column or an axis.

    Parameters
    ----------
    name : str
        As it is shown.
    size : float
        In the unit of the files.
    decimals : int
        Of every figure.
    """

    name: str
    size: float
    decimals: int

    def bare(self, value: float | None) -> str:
        """Return a figure without the unit."""
        return MISSING if value is None else f"{value / self.size:,.{self.decimals}f}"

    def shown(self, value: float | None) -> str:
        """Return a figure with the unit."""
        return MISSING if value is None else f"{self.bare(value)} {self.name}".strip()


ENERGY: Final = {"pJ": 1.0, "nJ": 1e3, "µJ": 1e6, "mJ": 1e9}
LATENCY: Final = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}
SIZE: Final = {"bit": 1.0, "kbit": 1e3, "Mbit": 1e6}
AREA: Final = {"µm²": 1.0, "mm²": 1e6}
BOPS: Final = {"BOPs": 1.0, "kBOPs": 1e3, "MBOPs": 1e6, "GBOPs": 1e9}
COUNT: Final = {"": 1.0}
PER_MAC: Final = {"fJ": 1.0}
SCALES: Final = {"energy": ENERGY, "latency": LATENCY, "size": SIZE, "area": AREA, "bops": BOPS}
"""By the value of `quant.resources.Resource`."""


def unit_for(values: Iterable[float | None], scale: dict[str, float]) -> Unit:
    """Return the largest unit in which the largest figure is at least 1, and its decimals."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    name, size = max(
        ((n, s) for n, s in scale.items() if s <= largest or s == 1.0), key=lambda pair: pair[1]
    )
    if size == 1.0 and scale in (COUNT, SIZE):
        return Unit(name=name, size=size, decimals=0)
    steps = (1000 * size, 100 * size, size)
    places = next((i for i, step in enumerate(steps) if largest >= step), len(steps))
    return Unit(name=name, size=size, decimals=places)


def one(value: float | None, scale: dict[str, float]) -> str:
    """Return one figure in its own unit."""
    return unit_for([value], scale).shown(value)


def percent(fraction: float | None, decimals: int = 2) -> str:
    """Return a fraction in percent."""
    return MISSING if fraction is None else f"{100 * fraction:.{decimals}f} %"


def points(fraction: float) -> str:
    """Return a difference of accuracies in percentage points."""
    return f"{100 * fraction:.2f} points"


def ratio(value: float | None, of: float | None) -> str:
    """Return a share with two decimals."""
    return MISSING if value is None or not of else f"{value / of:.2f}"
