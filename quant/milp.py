"""Exact allocation: an integer program over additive sensitivities.

    min   sum_l s[l, m_l]
    s.t.  sum_l use_r[l, m_l] <= limit_r     for every limited resource r
          one precision m_l for each layer l

solved to optimality by `scipy.optimize.milp` (HiGHS; Huangfu and Hall, Math. Prog. Comp. 10, 2018).
HAWQ-V3 (arXiv 2011.10680) allocates bits like this, with Hessian traces as sensitivities.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from hw.precision import WeightMode
from quant.budget import ROUNDING, Budget
from quant.menu import Menu

Sensitivity = Mapping[str, Mapping[WeightMode, float]]
"""Loss of each layer at each precision, on any one scale; they are added."""


def exact(
    menu: Menu, budget: Budget, sensitivity: Sensitivity, *, max_price: float | None = None
) -> dict[str, WeightMode] | None:
    """Return the least sensitive allocation within all limits, or None if there is none.

    Parameters
    ----------
    menu : Menu
        Choices and their uses.
    budget : Budget
        The limits; the drop plays no part.
    sensitivity : mapping
        Of each layer at each of its choices.
    max_price : float, optional
        Limit on the menu's objective, too.
    """
    places = [(name, mode) for name in menu.names for mode in menu.choices[name]]
    loss = np.array([sensitivity[name][mode] for name, mode in places], dtype=np.float64)
    scale = float(np.abs(loss).max()) or 1.0
    one_each = np.array([[float(name == row) for name, _ in places] for row in menu.names])
    constraints = [LinearConstraint(one_each, 1, 1)]
    rows = [
        [menu.use[name][mode][resource] / limit for name, mode in places]
        for resource, limit in budget.limits.items()
    ]
    if max_price is not None:
        rows.append([menu.price[name][mode] / max_price for name, mode in places])
    if rows:
        constraints.append(LinearConstraint(np.array(rows), -np.inf, 1 + ROUNDING))
    found = milp(
        loss / scale,
        integrality=np.ones(len(places)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return {name: mode for (name, mode), taken in zip(places, found.x, strict=True) if taken > 0.5}
