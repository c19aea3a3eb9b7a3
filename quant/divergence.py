"""Layer scores of phase 2: KL(float weight histogram || quantised weight histogram).

SigmaQuant (arXiv 2602.22136) scores a layer by this divergence, normalised by the layer's at 8
bit. Binning, smoothing and the form of the normalisation are not known. Ours:

- weights are divided by the 8-bit scale of their output channel, so that all channels share one
  axis, [-130, 130] in 8-bit steps, cut into 1,040 bins, four to a step;
- a quantised weight stands for everything that rounds to it: its mass is spread evenly over one
  step of its precision, so the divergence is the shape lost within a step and what is clipped;
- 1/64 of a weight is added to every bin of both histograms, so the divergence is finite;
- the score is the quotient of the divergence and that at 8 bit, so 1 at 8 bit.

How well the scores order layers was measured (docs/adr/0006): weakly at best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hw.precision import WeightMode
from quant.quantizer import quantise_weight, weight_scale

LIMIT = 130.0
BINS = 1040
PSEUDO_COUNT = 1 / 64


def divergence(weight: Tensor, mode: WeightMode) -> float:
    """KL divergence in nats of a layer's quantised weights from its float ones.

    Parameters
    ----------
    weight : float [M, ...]
        Output channels first.
    mode : WeightMode
        Precision.
    """
    rows = weight.detach().reshape(weight.shape[0], -1)  # [M, K]
    unit = weight_scale(rows, WeightMode.W8)[:, None]
    scale = weight_scale(rows, mode)
    quantised = quantise_weight(rows, scale, mode) * scale[:, None] / unit
    step = (scale[:, None] / unit).expand_as(rows)
    edges = np.linspace(-LIMIT, LIMIT, BINS + 1)
    exact, _ = np.histogram((rows / unit).numpy(), edges)
    spread = _spread_histogram(quantised.numpy().ravel(), step.numpy().ravel(), edges)
    p, q = _smoothed(exact.astype(np.float64)), _smoothed(spread)
    return float((p * np.log(p / q)).sum())


def scores(weight: Tensor) -> dict[WeightMode, float]:
    """Divergence of a layer at each precision, over that at 8 bit; float [M, ...] weights."""
    reference = divergence(weight, WeightMode.W8)
    return {mode: divergence(weight, mode) / reference for mode in WeightMode}


def _spread_histogram(
    centre: NDArray[np.float64], width: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mass per bin, float64 [bins], of one unit per centre spread evenly over its width."""
    values, index = np.unique(np.stack([centre, width]), axis=1, return_inverse=True)
    counts = np.bincount(index.ravel(), minlength=values.shape[1])
    low = values[0] - values[1] / 2
    below = np.clip((edges[:, None] - low) / values[1], 0, 1)  # [edges, distinct values]
    mass: NDArray[np.float64] = np.diff(below @ counts.astype(np.float64))
    return mass


def _smoothed(histogram: NDArray[np.float64]) -> NDArray[np.float64]:
    raised: NDArray[np.float64] = histogram + PSEUDO_COUNT
    return raised / float(raised.sum())
