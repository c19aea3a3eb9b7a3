"""How much each layer loses at each precision: four additive measures behind one name.

- ``kl``: the score of SigmaQuant's phase 2, the divergence of the weights' histogram over that at
  8 bit (`quant.divergence`); needs no images;
- ``logit-kl``: the divergence of the outputs when one layer alone is quantised (`quant.probes`);
- ``hessian``: half the mean Hutchinson trace times the squared perturbation of the weights, and
- ``fisher``: half the diagonal of the Fisher information times the squared perturbations
  (`quant.curvature`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np
import torch
from torch import Tensor

from hw.precision import WeightMode
from quant.batches import inputs_of
from quant.curvature import fisher, hessian
from quant.divergence import scores
from quant.jobs import Jobs
from quant.menu import Menu
from quant.milp import ActSensitivity, Sensitivity
from quant.probes import act_divergence, logit_divergence
from quant.threads import one_thread
from quant.workbench import Source, Workbench

PROBE_IMAGES = 128
CURVATURE_IMAGES = 64


class Measure(Enum):
    """A measure of sensitivity; the value is its name on the command line."""

    KL = "kl"
    LOGIT_KL = "logit-kl"
    HESSIAN = "hessian"
    FISHER = "fisher"


def sensitivities(
    measure: Measure,
    bench: Workbench,
    menu: Menu,
    most: WeightMode,
    *,
    seed: int,
    names: Sequence[str] | None = None,
) -> dict[str, dict[WeightMode, float]]:
    """Measure every layer, or those named, at each of its choices.

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
    names : sequence of str, optional
        Layers to measure.
    """
    names = menu.names if names is None else names
    choices = {name: menu.choices[name] for name in names}
    if measure is Measure.KL:
        found: Sensitivity = {name: scores(bench.network.weight(name)) for name in names}
    elif measure is Measure.LOGIT_KL:
        starts = bench.starts(seed)
        if starts is not None:
            reference = dict.fromkeys(menu.names, (most,))
            starts.prepare({**reference, **choices})  # at once: the statistics are taken once
        quantised = bench.calibrated(menu.uniform(most), seed=seed, acts=menu.most_acts)
        images, _ = _images(bench, PROBE_IMAGES, seed=seed)
        if starts is not None:
            found = logit_divergence(quantised, choices, images, starts.of)
        else:
            found = logit_divergence(quantised, choices, images)
    else:
        images, labels = _images(bench, CURVATURE_IMAGES, seed=seed)
        if measure is Measure.HESSIAN:
            found = hessian(bench.network, choices, images, labels, seed=seed)
        else:
            found = fisher(bench.network, choices, images, seed=seed)
    return {name: {m: float(found[name][m]) for m in modes} for name, modes in choices.items()}


def act_sensitivities(
    bench: Workbench,
    menu: Menu,
    most: WeightMode,
    *,
    seed: int,
    tensors: Sequence[str] | None = None,
) -> ActSensitivity:
    """Measure every activation that has a choice, or those given, by `Measure.LOGIT_KL`.

    Parameters are as in `sensitivities`; all others have the most bits that they may have.
    """
    chosen = menu.act_choices if tensors is None else tensors
    choices = {tensor: menu.act_choices[tensor] for tensor in chosen}
    quantised = bench.calibrated(menu.uniform(most), seed=seed, acts=menu.most_acts)
    images, _ = _images(bench, PROBE_IMAGES, seed=seed)
    widths = {bits for options in choices.values() for bits in options}
    return act_divergence(
        quantised,
        choices,
        images,
        {bits: bench.act_ranges(quantised, bits, seed=seed) for bits in sorted(widths)},
    )


def shared_sensitivities(
    jobs: Jobs, measure: Measure, source: Source, menu: Menu, most: WeightMode, *, seed: int
) -> Sensitivity:
    """Measure as `sensitivities` does, each job some of the layers; the result is the same.

    Only `Measure.LOGIT_KL` looks at one layer at a time; of the others one job measures all.
    Parameters are as there, with the source of the workbench that each job makes for itself.
    """
    parts = _parts(menu.names, jobs.slots if measure is Measure.LOGIT_KL else 1)
    running = [jobs.submit(_probed, measure, source, menu, most, seed, part) for part in parts]
    found = {name: by for job in running for name, by in job.result().items()}
    return {name: found[name] for name in menu.names}


def shared_act_sensitivities(
    jobs: Jobs, source: Source, menu: Menu, most: WeightMode, *, seed: int
) -> ActSensitivity:
    """Measure as `act_sensitivities` does, each job some of the activations."""
    parts = _parts(list(menu.act_choices), jobs.slots)
    running = [jobs.submit(_probed_acts, source, menu, most, seed, part) for part in parts]
    found = {tensor: by for job in running for tensor, by in job.result().items()}
    return {tensor: found[tensor] for tensor in menu.act_choices}


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    return [names[i::most] for i in range(min(most, len(names)))]


def _probed(
    measure: Measure, source: Source, menu: Menu, most: WeightMode, seed: int, part: Sequence[str]
) -> Sensitivity:
    """Job: measure some layers."""
    one_thread()
    return sensitivities(measure, Workbench(source), menu, most, seed=seed, names=part)


def _probed_acts(
    source: Source, menu: Menu, most: WeightMode, seed: int, part: Sequence[str]
) -> ActSensitivity:
    """Job: measure some activations."""
    one_thread()
    return act_sensitivities(Workbench(source), menu, most, seed=seed, tensors=part)


def _images(bench: Workbench, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Training images float32 [n, C, H, W] and labels int64 [n]."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(bench.train_set), min(count, len(bench.train_set)), replace=False)
    labels = torch.from_numpy(bench.train_set.labels[chosen])
    return inputs_of(bench.train_set, chosen), labels
