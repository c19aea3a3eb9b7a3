"""What all records of a cost table share: checked numbers, method words, figures not given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from hw.precision import WeightMode

Number = TypeVar("Number", int, float)
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
ModeName = Literal["W2", "W4", "W6", "W8"]
Method = Literal["synthesised", "static timing", "gate-level activity", "cited"]
"""How a figure was made (docs/cost-table.md)."""


class CostTableError(Exception):
    """A cost table is missing, malformed, or lacks what was asked of it."""


class Record(BaseModel):
    """A part of a cost table: immutable, no unknown fields, described by its docstrings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """A cost that a table cannot give.

    Parameters
    ----------
    cost : str
        The cost, or several, by their names in `LayerCost` or `CostTable`.
    needs : str
        The field of the table that would make it available.
    """

    cost: str
    needs: str

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.cost}: needs {self.needs}"


def _of_known_modes(figures: dict[str, float]) -> dict[str, float]:
    known = [mode.name for mode in WeightMode]
    for name in figures:
        if name not in known:
            raise ValueError(f"weight modes must be some of {', '.join(known)}, not {name}")
    return figures


_MODE_KEYS = Field(json_schema_extra={"propertyNames": {"enum": [m.name for m in WeightMode]}})
PerMode = Annotated[dict[str, NonNegative], AfterValidator(_of_known_modes), _MODE_KEYS]
"""A figure at each weight mode, ``W2`` to ``W8``, or at some."""
PositivePerMode = Annotated[dict[str, Positive], AfterValidator(_of_known_modes), _MODE_KEYS]


def modes_of(*figures: Mapping[str, float]) -> tuple[WeightMode, ...]:
    """Modes that any of some figures name, fewest bits first; all where none names one."""
    named = {name for figure in figures for name in figure}
    return tuple(mode for mode in WeightMode if mode.name in named or not named)


def added(*terms: Number | None) -> Number | None:
    """Sum, or None if a term is not known."""
    total: Number = 0
    for term in terms:
        if term is None:
            return None
        total += term
    return total


def multiplied(*factors: Number | None) -> Number | None:
    """Product, or None if a factor is not known."""
    product: Number = 1
    for factor in factors:
        if factor is None:
            return None
        product *= factor
    return product


def divided(dividend: float | None, divisor: float | None) -> float | None:
    """Quotient, or None if one of the two is not known or the divisor is 0."""
    return dividend / divisor if dividend is not None and divisor else None
