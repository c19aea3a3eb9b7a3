"""Exact allocation: an integer program over additive sensitivities.

    min   sum_l s[l, m_l] + sum_t s[t, b_t]
    s.t.  sum_l use_r[l, m_l, b_t(l)] <= limit_r     for every limited resource r
          one precision m_l for each layer l, one number of bits b_t for each activation t

solved to optimality by `scipy.optimize.milp` (HiGHS; Huangfu and Hall, Math. Prog. Comp. 10, 2018).
HAWQ-V3 (arXiv 2011.10680) allocates bits like this, with Hessian traces as sensitivities. Ours:
what a layer takes depends on its own bits and on those of the activation t(l) that it reads, so a
choice of a layer is a pair of both, and the pairs of all layers that read an activation must agree
on its bits. Where activations have no choice, there is one pair for each precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, Acts, Allocation
from quant.budget import ROUNDING, Budget
from quant.menu import Menu

Sensitivity = Mapping[str, Mapping[WeightMode, float]]
"""Loss of each layer at each precision, on any one scale; they are added."""

ActSensitivity = Mapping[str, Mapping[int, float]]
"""Loss of each activation that has a choice at each of its bits, on the same scale."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A binary variable: a layer's precision, with the bits of the activation that it reads."""

    layer: str
    mode: WeightMode
    acts: Acts


def exact(
    menu: Menu,
    budget: Budget,
    sensitivity: Sensitivity,
    *,
    acts: ActSensitivity | None = None,
    max_price: float | None = None,
) -> Allocation | None:
    """Return the least sensitive allocation within all limits, or None if there is none.

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
    max_price : float, optional
        Limit on the menu's objective, too.
    """
    loss, price = _loss(sensitivity, acts or {}), _price(menu)
    return _solve(menu, budget, loss, None if max_price is None else (price, max_price))


def cheapest(
    menu: Menu,
    budget: Budget,
    sensitivity: Sensitivity | None = None,
    *,
    acts: ActSensitivity | None = None,
    max_loss: float = 0.0,
) -> Allocation | None:
    """Return the allocation of the lowest price within all limits, or None if there is none.

    Parameters
    ----------
    menu, budget
        As for `exact`.
    sensitivity, acts : mapping, optional
        As for `exact`; with a sensitivity, the sum of losses is limited, too.
    max_loss : float
        That limit, positive.
    """
    loss = None if sensitivity is None else (_loss(sensitivity, acts or {}), max_loss)
    return _solve(menu, budget, _price(menu), loss)


def total_loss(
    allocation: Allocation, sensitivity: Sensitivity, acts: ActSensitivity | None = None
) -> float:
    """Sum of losses of an allocation; parameters as for `exact`."""
    of_acts = (by[allocation.acts.get(tensor, ACT_BITS)] for tensor, by in (acts or {}).items())
    return sum(sensitivity[name][mode] for name, mode in allocation.bits.items()) + sum(of_acts)


_Value = tuple[Callable[[_Place], float], Callable[[str, int], float]]
"""What counts, of a place and of an activation's bits."""


def _loss(sensitivity: Sensitivity, acts: ActSensitivity) -> _Value:
    return (
        lambda place: sensitivity[place.layer][place.mode],
        lambda tensor, bits: acts[tensor][bits] if tensor in acts else 0.0,
    )


def _price(menu: Menu) -> _Value:
    return lambda place: menu.price_of(place.layer, place.mode, place.acts), lambda *_: 0.0


def _solve(
    menu: Menu, budget: Budget, value: _Value, limited: tuple[_Value, float] | None
) -> Allocation | None:
    """Make the sum of a value small; the sum of another is limited, if given, beside the budget."""
    places = [
        _Place(layer=name, mode=mode, acts=option)
        for name in menu.names
        for mode in menu.choices[name]
        for option in _options(menu, name)
    ]
    levels = [(tensor, bits) for tensor, choices in menu.act_choices.items() for bits in choices]

    def of_all(value: _Value) -> list[float]:
        of_place, of_level = value
        return [*(of_place(place) for place in places), *(of_level(*level) for level in levels)]

    values = np.array(of_all(value), dtype=np.float64)
    constraints = [LinearConstraint(_one_each(menu, places, len(levels)), 1, 1)]
    if levels:
        constraints.append(LinearConstraint(_agreement(menu, places, levels), 0, 0))
    rows = [
        [menu.use_of(p.layer, p.mode, p.acts)[resource] / limit for p in places]
        + [0.0] * len(levels)
        for resource, limit in budget.limits.items()
    ]
    if limited is not None:
        rows.append([one / limited[1] for one in of_all(limited[0])])
    if rows:
        uses = np.array(rows)
        constraints.append(LinearConstraint(uses, -np.inf, 1 + ROUNDING))
    found = milp(
        values / (float(np.abs(values).max()) or 1.0),
        integrality=np.ones(len(values)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    taken = [place for place, x in zip(places, found.x, strict=False) if x > 0.5]
    chosen = {
        t: bits for (t, bits), x in zip(levels, found.x[len(places) :], strict=True) if x > 0.5
    }
    return Allocation(bits={p.layer: p.mode for p in taken}, acts=menu.with_acts(chosen))


def _options(menu: Menu, name: str) -> list[Acts]:
    """Bits of the activation that a layer reads, as bits of all that have no choice beside it."""
    tensor = menu.reads.get(name, "")
    if tensor not in menu.act_choices:
        return [menu.acts]
    return [{**menu.acts, tensor: bits} for bits in menu.act_choices[tensor]]


def _one_each(menu: Menu, places: list[_Place], levels: int) -> NDArray[np.float64]:
    """Rows that add up the places of each layer."""
    return np.array(
        [[*(float(p.layer == name) for p in places), *[0.0] * levels] for name in menu.names]
    )


def _agreement(
    menu: Menu, places: list[_Place], levels: list[tuple[str, int]]
) -> NDArray[np.float64]:
    """Rows that are 0 where a layer's place and the activation that it reads agree on its bits."""
    return np.array(
        [
            [
                *(float(p.layer == name and p.acts[tensor] == bits) for p in places),
                *(-float(level == (tensor, bits)) for level in levels),
            ]
            for name in menu.names
            for tensor, bits in levels
            if menu.reads[name] == tensor
        ]
    )
