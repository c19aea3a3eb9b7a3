"""One layer, quantised: its integers, and what they change."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from quant.ptq.fit import fitted
from quant.ptq.grid import WeightGrid
from quant.ptq.optimise import Method, OptimisedWeights, matrix, optimise, output_error
from quant.ptq.recipe import Recipe, Steps
from quant.ptq.schemes import WeightScheme
from quant.ptq.statistics import LayerStatistics


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """A layer's integers and what is told of them.

    Parameters
    ----------
    weights : OptimisedWeights
    shift : float64 [M]
        What the error of the weights adds to the mean of each output.
    nearest, error : float
        Relative output error (`output_error`) of rounding to nearest on the grid that spans the
        weights, and of these integers.
    seconds : float
        Processor time that they took, the steps' fit included.
    """

    weights: OptimisedWeights
    shift: Tensor
    nearest: float
    error: float
    seconds: float


def solve(
    weight: Tensor, statistics: LayerStatistics, grid: WeightGrid, recipe: Recipe
) -> Solution:
    """Quantise one layer.

    Parameters
    ----------
    weight : float [M, ...]
    statistics : LayerStatistics
        Of its inputs.
    grid : WeightGrid
        That spans the weights.
    recipe : Recipe

    Raises
    ------
    QuantError
        If a weight is not finite or no image reached the layer.
    """
    nearest = optimise(weight, statistics, grid, Method.NEAREST)
    began = time.process_time()
    if recipe.steps is Steps.FITTED:
        shared = recipe.scheme is WeightScheme.LAYER_ASYMMETRIC
        grid = fitted(matrix(weight), statistics, grid, recipe.method, shared=shared)
    found = optimise(weight, statistics, grid, recipe.method)
    seconds = time.process_time() - began
    return Solution(
        weights=found,
        shift=mean_shift(weight, found, statistics),
        nearest=output_error(weight, nearest, statistics),
        error=output_error(weight, found, statistics),
        seconds=seconds,
    )


def mean_shift(weight: Tensor, found: OptimisedWeights, statistics: LayerStatistics) -> Tensor:
    """Return what the error of the weights adds to the mean of each output, float64 [M]."""
    mean = statistics.mean  # [groups, K]
    wrong = torch.from_numpy(matrix(found.values()) - matrix(weight))
    rows = wrong.reshape(len(mean), -1, mean.shape[1])  # [groups, M / groups, K]
    return (rows @ mean[:, :, None]).flatten()
