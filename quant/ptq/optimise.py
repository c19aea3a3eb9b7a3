"""One layer's weights, optimised on its statistics: the methods behind one name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quant.errors import QuantError
from quant.ptq.adaround import adaround
from quant.ptq.gptq import gptq
from quant.ptq.grid import WeightGrid
from quant.ptq.obq import obq
from quant.ptq.rtn import round_to_nearest
from quant.ptq.sensitivity import sensitivity
from quant.ptq.statistics import LayerStatistics

Matrix = NDArray[np.float64]


class Method(Enum):
    """A way to choose integers; the value is its name on the command line."""

    NEAREST = "nearest"
    GPTQ = "gptq"
    ACT_ORDER = "act-order"
    SENSITIVITY = "sensitivity"
    OBQ = "obq"
    ADAROUND = "adaround"


_FUNCTIONS: dict[Method, Callable[[Matrix, Matrix, WeightGrid], Matrix]] = {
    Method.NEAREST: lambda weight, _, grid: round_to_nearest(weight, grid),
    Method.GPTQ: gptq,
    Method.ACT_ORDER: partial(gptq, act_order=True),
    Method.SENSITIVITY: sensitivity,
    Method.OBQ: obq,
    Method.ADAROUND: adaround,
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

    def values(self) -> Tensor:
        """Weights that the integers stand for, float32 [M, ...]."""
        values = self.grid.values(self.integers.flatten(1).numpy())
        return torch.from_numpy(values).float().reshape(self.integers.shape)


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
        input that the calibration never moved may move later. A Hessian of zeros so gives what
        rounding to nearest gives.

    Raises
    ------
    QuantError
        If a weight is not finite or, except for `Method.NEAREST`, no input was seen or the Hessian
        is not finite.
    """
    if not bool(torch.isfinite(weight).all()):
        raise QuantError(
            f"{statistics.name}: weights must be finite, not infinite or NaN; take a network "
            "whose training did not diverge"
        )
    rows = matrix(weight)
    integers = round_to_nearest(rows, grid)
    if method is not Method.NEAREST:
        outputs = len(rows) // statistics.groups
        hessians = _finite(statistics)
        whole_groups = np.all(hessians.diagonal(axis1=1, axis2=2) > 0, axis=1, keepdims=True)[:, 0]
        at_once = method is Method.ADAROUND and statistics.groups > 1 and whole_groups.any()
        if at_once:  # hundreds of depthwise channels, a loop of gradient steps each
            every = np.flatnonzero(np.repeat(whole_groups, outputs))
            integers[every] = adaround(rows[every], hessians[whole_groups], grid.rows(every))
        for group, hessian in enumerate(hessians):
            if at_once and whole_groups[group]:
                continue
            part = slice(group * outputs, (group + 1) * outputs)
            live = hessian.diagonal() > 0
            if live.any():
                solve = _FUNCTIONS[method]
                hessian = hessian if live.all() else hessian[np.ix_(live, live)]
                integers[part, live] = solve(rows[part, live], hessian, grid.rows(part))
    whole = torch.from_numpy(integers.astype(np.int8)).reshape(weight.shape)
    return OptimisedWeights(integers=whole, grid=grid)


def _finite(statistics: LayerStatistics) -> Matrix:
    """Hessians of all groups, float64 [groups, K, K]; a QuantError if they are not finite."""
    hessians: Matrix = statistics.hessian.numpy()
    if not np.isfinite(hessians).all():
        raise QuantError(
            f"{statistics.name}: mean square of the inputs must be finite, not infinite or NaN; "
            "check the network's weights and the images"
        )
    return hessians


def matrix(weight: Tensor) -> Matrix:
    """Weights float [M, ...] as float64 [M, K]."""
    return weight.detach().reshape(len(weight), -1).double().contiguous().numpy()


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
    hessian = statistics.hessian.numpy()
    rows, after = matrix(weight), matrix(optimised.values())
    signal = _energy(rows, hessian)
    return _energy(after - rows, hessian) / signal if signal else 0.0


def _energy(rows: Matrix, hessian: NDArray[np.float64]) -> float:
    grouped = rows.reshape(len(hessian), -1, rows.shape[1])  # [groups, M / groups, K]
    return float(((grouped @ hessian) * grouped).sum())
