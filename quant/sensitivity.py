"""How much each layer loses at each precision: four additive measures behind one name.

- ``kl``: the score of SigmaQuant's phase 2, the divergence of the weights' histogram over that at
  8 bit (`quant.divergence`); needs no images;
- ``logit-kl``: the divergence of the outputs when one layer alone is quantised (`quant.probes`);
- ``hessian``: half the mean Hutchinson trace times the squared perturbation of the weights, and
- ``fisher``: half the diagonal of the Fisher information times the squared perturbations
  (`quant.curvature`).
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import Tensor

from hw.precision import WeightMode
from quant.batches import inputs_of
from quant.curvature import fisher, hessian
from quant.divergence import scores
from quant.menu import Menu
from quant.milp import ActSensitivity, Sensitivity
from quant.probes import act_divergence, logit_divergence
from quant.workbench import Workbench

PROBE_IMAGES = 128
CURVATURE_IMAGES = 64


class Measure(Enum):
    """A measure of sensitivity; the value is its name on the command line."""

    KL = "kl"
    LOGIT_KL = "logit-kl"
    HESSIAN = "hessian"
    FISHER = "fisher"


def sensitivities(
    measure: Measure, bench: Workbench, menu: Menu, most: WeightMode, *, seed: int
) -> dict[str, dict[WeightMode, float]]:
    """Measure every layer at each of its choices.

    Parameters
    ----------
    measure : Measure
        What to measure.
    bench : Workbench
        Network and images; training images only are looked at.
    menu : Menu
        Choices of the layers.
    most : WeightMode
        Precision of the layers that are not probed, for `Measure.LOGIT_KL`.
    seed : int
        Of the choice of images, of labels and of the Hutchinson vectors.
    """
    if measure is Measure.KL:
        found: Sensitivity = {name: scores(bench.network.weight(name)) for name in menu.names}
    elif measure is Measure.LOGIT_KL:
        starts = bench.starts(seed)
        if starts is not None:
            starts.prepare(menu.choices)  # at once, so that the statistics are taken once
        quantised = bench.calibrated(menu.uniform(most), seed=seed, acts=menu.most_acts)
        images, _ = _images(bench, PROBE_IMAGES, seed=seed)
        if starts is not None:
            found = logit_divergence(quantised, menu.choices, images, starts.of)
        else:
            found = logit_divergence(quantised, menu.choices, images)
    else:
        images, labels = _images(bench, CURVATURE_IMAGES, seed=seed)
        if measure is Measure.HESSIAN:
            found = hessian(bench.network, menu.choices, images, labels, seed=seed)
        else:
            found = fisher(bench.network, menu.choices, images, seed=seed)
    return {name: {m: float(found[name][m]) for m in menu.choices[name]} for name in menu.names}


def act_sensitivities(
    bench: Workbench, menu: Menu, most: WeightMode, *, seed: int
) -> ActSensitivity:
    """Measure every activation that has a choice by `Measure.LOGIT_KL`, on its scale.

    Parameters are as in `sensitivities`; all others have the most bits that they may have.
    """
    quantised = bench.calibrated(menu.uniform(most), seed=seed, acts=menu.most_acts)
    images, _ = _images(bench, PROBE_IMAGES, seed=seed)
    widths = {bits for choices in menu.act_choices.values() for bits in choices}
    return act_divergence(
        quantised,
        menu.act_choices,
        images,
        {bits: bench.act_ranges(quantised, bits, seed=seed) for bits in sorted(widths)},
    )


def _images(bench: Workbench, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Training images float32 [n, C, H, W] and labels int64 [n]."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(bench.train_set), min(count, len(bench.train_set)), replace=False)
    labels = torch.from_numpy(bench.train_set.labels[chosen])
    return inputs_of(bench.train_set, chosen), labels
