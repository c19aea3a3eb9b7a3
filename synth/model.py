"""Fits a module's energy per step to what its operands do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from hw.config import ArrayConfig
from hw.precision import WeightMode
from synth.costs.activity import EnergyModel
from synth.features import FEATURES, Features, features
from synth.operands import Operands, sample_tiles


def run_features(
    operands: Operands, mode: WeightMode, config: ArrayConfig, *, products: int
) -> dict[str, Features]:
    """Features of the sampled tiles of each layer, as the watched PE of the first row sees them."""
    tiles = sample_tiles(operands, mode, config, products=products)
    return {
        name: features([(tile.act[0], tile.weight[:, 0]) for tile in run], mode, config)
        for name, run in tiles.items()
    }


def fit(found: Sequence[Features], step_pj: Sequence[float]) -> EnergyModel:
    """Fit energies by least squares of relative errors, no coefficient below 0.

    Parameters
    ----------
    found : sequence of Features
        Of each run.
    step_pj : sequence of float
        Measured energy of a step of each run, pJ, positive.
    """
    measured = np.array(step_pj)
    columns = np.array([[1.0, *(getattr(f, name) for name in FEATURES)] for f in found])
    weights, _ = nnls(columns / measured[:, None], np.ones(len(measured)))
    errors = np.abs(columns @ weights / measured - 1)
    return EnergyModel(
        base_pj=float(weights[0]),
        per_change_pj={
            name: float(weight)
            for name, weight in zip(FEATURES, weights[1:], strict=True)
            if weight > 0
        },
        fit_error=float(errors.mean()),
        largest_fit_error=float(errors.max()),
    )
