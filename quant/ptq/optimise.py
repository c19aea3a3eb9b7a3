"""One layer's weights, optimised on its statistics: the methods behind one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from quant.errors import QuantError
from quant.ptq.gptq import gptq
from quant.ptq.grid import WeightGrid
from quant.ptq.hessian import live_columns
from quant.ptq.rtn import round_to_nearest
from quant.ptq.sensitivity import sensitivity
from quant.ptq.statistics import LayerStatistics


class Method(Enum):
    """A way to choose integers; the value is its name on the command line."""

    NEAREST = "nearest"
    GPTQ = "gptq"
    ACT_ORDER = "act-order"
    SENSITIVITY = "sensitivity"


_FUNCTIONS: dict[Method, Callable[[Tensor, Tensor, WeightGrid], Tensor]] = {
    Method.NEAREST: lambda weight, _, grid: round_to_nearest(weight, grid),
    Method.GPTQ: lambda weight, hessian, grid: gptq(weight, hessian, grid, act_order=False),
    Method.ACT_ORDER: lambda weight, hessian, grid: gptq(weight, hessian, grid, act_order=True),
    Method.SENSITIVITY: sensitivity,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class OptimisedWeights:
    """Integers of a layer on their grid.

    Parameters
    ----------
    integers : int8 [M, ...]
        In the shape of the weight.
    grid : WeightGrid
        Scale and zero point per channel.
    """

    integers: Tensor
    grid: WeightGrid


def optimise(
    weight: Tensor, statistics: LayerStatistics, grid: WeightGrid, method: Method
) -> OptimisedWeights:
    """Choose a layer's integers.

    Parameters
    ----------
    weight : float [M, ...]
        Output channels first; those of a group of the convolution follow each other.
    statistics : LayerStatistics
        Of the same layer.
    grid : WeightGrid
        Of all M channels.
    method : Method
        How to choose.

    Returns
    -------
    OptimisedWeights
        Dead columns, whose input was always 0, are rounded to nearest, not set to 0 as in OBC: an
        input that the calibration never moved may move later.

    Raises
    ------
    QuantError
        If a weight is not finite or, except for `Method.NEAREST`, no input was seen.
    """
    if not bool(torch.isfinite(weight).all()):
        raise QuantError(
            f"{statistics.name}: weights must be finite, not infinite or NaN; take a network "
            "whose training did not diverge"
        )
    rows = weight.detach().reshape(len(weight), -1).double()  # [M, K]
    integers = grid.nearest(grid.units(rows))
    if method is not Method.NEAREST:
        outputs = len(rows) // statistics.groups
        for group, hessian in enumerate(statistics.hessian):
            live = live_columns(hessian)
            if not bool(live.any()):
                continue
            start, stop = group * outputs, (group + 1) * outputs
            part = rows[start:stop, live]
            solve = _FUNCTIONS[method]
            found = solve(part, hessian[live][:, live], grid.rows(start, stop))
            integers[start:stop, live] = found
    return OptimisedWeights(integers=integers.to(torch.int8).reshape(weight.shape), grid=grid)


def output_error(weight: Tensor, optimised: OptimisedWeights, statistics: LayerStatistics) -> float:
    """Mean square of the change of a layer's outputs over that of the outputs, bias apart.

    Parameters
    ----------
    weight : float [M, ...]
        Before.
    optimised : OptimisedWeights
        After.
    statistics : LayerStatistics
        Of the same layer; of other images than the optimiser's it tells how well that generalises.

    Returns
    -------
    float
        0 where both are 0.
    """
    hessian = statistics.hessian
    shape = (statistics.groups, -1, hessian.shape[1])
    rows = weight.detach().double().reshape(len(weight), -1)  # [M, K]
    after = optimised.grid.values(optimised.integers.reshape(len(weight), -1))
    signal = _energy(rows.reshape(shape), hessian)
    return _energy((after - rows).reshape(shape), hessian) / signal if signal else 0.0


def _energy(rows: Tensor, hessian: Tensor) -> float:
    return float(((rows @ hessian) * rows).sum())
