"""Steps of weights, fitted to a layer's inputs: a little clipping for a finer grid.

With few bits, a step that spans the widest weight is too coarse for the others. Each channel tries
some shares of that step and keeps the one of least output error: rounded to nearest where that is
the method, else in a plain sweep (`quant.ptq.sensitivity` without its other two parts), which
stands for all methods whose weights make up for each other. Ours; at 2 bit the rule of the grid
clips already, and 6 and 8 bit gain nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.ptq.grid import WeightGrid
from quant.ptq.optimise import Method
from quant.ptq.rtn import round_to_nearest
from quant.ptq.sensitivity import sensitivity
from quant.ptq.statistics import LayerStatistics

Matrix = NDArray[np.float64]

FITTED_BITS = (3, 4)
SHARES = (1.0, 0.9, 0.8, 0.7)


def fitted(
    weight: Matrix,
    statistics: LayerStatistics,
    grid: WeightGrid,
    method: Method,
    *,
    shared: bool = False,
) -> WeightGrid:
    """Return the grid with the step of each channel that suits its inputs best.

    Parameters
    ----------
    weight : float64 [M, K]
    statistics : LayerStatistics
        Of the same layer; channels whose input was always 0 keep their step.
    grid : WeightGrid
        Of the M channels; zero points stay.
    method : Method
        That will choose the integers.
    shared : bool
        Whether the channels share one step, and so one share of it: that of least error in all.
    """
    if grid.range.bits not in FITTED_BITS:
        return grid
    scales = np.stack([grid.scale * share for share in SHARES])  # [shares, M]
    scales = scales.astype(np.float32).astype(np.float64)
    error = np.zeros_like(scales)
    outputs = len(weight) // statistics.groups
    for group, hessian in enumerate(statistics.hessian.numpy()):
        part = slice(group * outputs, (group + 1) * outputs)
        live = hessian.diagonal() > 0
        if live.any():
            within = hessian if live.all() else hessian[np.ix_(live, live)]
            rows = weight[part][:, live]
            error[:, part] = _errors(rows, within, grid.rows(part), scales[:, part], method)
    if shared:
        error[:] = error.sum(axis=1, keepdims=True)
    best = error.argmin(axis=0)  # the first, the whole range, where several are alike
    scale: Matrix = scales[best, np.arange(len(weight))]
    return WeightGrid(range=grid.range, scale=scale, zero_point=grid.zero_point)


def _errors(
    weight: Matrix, hessian: Matrix, grid: WeightGrid, scales: Matrix, method: Method
) -> Matrix:
    """Output errors at some scales, float64 [shares, M] both; all are rounded at once."""
    zero_point = np.tile(grid.zero_point, len(scales))
    wide = WeightGrid(range=grid.range, scale=scales.flatten(), zero_point=zero_point)
    rows = np.tile(weight, (len(scales), 1))
    if method is Method.NEAREST:
        integers = round_to_nearest(rows, wide)
    else:
        integers = sensitivity(rows, hessian, wide, alternatives=0, repair=False)
    wrong = wide.values(integers) - rows
    error: Matrix = ((wrong @ hessian) * wrong).sum(axis=1).reshape(scales.shape)
    return error
