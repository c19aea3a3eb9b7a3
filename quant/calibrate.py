"""Calibration: batch-norm statistics and activation ranges from training images."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from quant.batches import at_once, train_batches
from quant.data import Images
from quant.device import device_of
from quant.errors import QuantError
from quant.quant_network import QuantNetwork
from quant.quantizer import ActQuantizer

PERCENTILE = 99.9
"""Clip of the activations in SigmaQuant (shared/papers.md section 1)."""

CLIPS = {8: 100.0, 6: 99.99}
"""Percentile of activations of so many bits or more; of fewer it is `PERCENTILE` (ADR 21)."""

BATCH = 128
MOST_BATCHES = 16
"""Batches of images so large that fewer than `BATCH` go through a network together."""


def calibration_batches(data: Images, *, batches: int, seed: int) -> Iterator[Tensor]:
    """Yield batches of `BATCH` training images, float32 [n, C, H, W].

    Of large images a batch has as many as `quant.batches.at_once` allows; there are as many more
    batches then, up to `MOST_BATCHES`, and no image comes twice.
    """
    size, steps = at_once(data.shape, BATCH), batches
    if size < BATCH:
        as_many = batches * math.ceil(BATCH / size)
        steps = max(1, min(as_many, MOST_BATCHES, len(data) // size))
    for images, _ in train_batches(data, steps=steps, size=size, seed=seed, augment=False):
        yield images


@torch.no_grad()
def reestimate_norms(
    network: QuantNetwork, data: Images, *, batches: int = 8, seed: int = 0
) -> None:
    """Replace the running statistics of all batch norms by averages over training batches.

    Parameters
    ----------
    network : QuantNetwork
        Changed in place, left in evaluation mode.
    data : Images
        Training images.
    batches : int
        Batches of 128 images (`calibration_batches`).
    seed : int
        Seed of the choice of images.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches seen
    device = device_of(network)
    network.train()
    for images in calibration_batches(data, batches=batches, seed=seed):
        network(images.to(device))
    network.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def clip(bits: int) -> float:
    """Percentile beyond which activations of so many bits are clipped; 100 clips nothing."""
    return next((found for least, found in CLIPS.items() if bits >= least), PERCENTILE)


@torch.no_grad()
def fit_activations(
    network: QuantNetwork,
    data: Images,
    *,
    batches: int = 4,
    percentile: float | None = None,
    seed: int = 0,
) -> None:
    """Set all activation ranges from what the network, weights quantised, computes in float.

    Parameters
    ----------
    network : QuantNetwork
        Changed in place, left in evaluation mode.
    data : Images
        Training images.
    batches : int
        Batches of 128 images (`calibration_batches`).
    percentile : float, optional
        Clip, per tensor; that of its bits (`clip`) by default.
    seed : int
        Seed of the choice of images.

    Raises
    ------
    QuantError
        If a tensor is computed for none of the images.
    """
    device = device_of(network)
    quantizers = [m for m in network.modules() if isinstance(m, ActQuantizer)]
    network.eval()
    for quantizer in quantizers:
        quantizer.observing = True
        quantizer.forget()
    for images in calibration_batches(data, batches=batches, seed=seed):
        network(images.to(device))
    for quantizer in quantizers:
        quantizer.observing = False
        quantizer.fit(clip(quantizer.bits) if percentile is None else percentile)
    for tensor in network.act_quantizers:
        if network.act_quantizer(tensor).range is None:
            raise QuantError(
                f"{tensor}: must be computed for some of the images of calibration, not for none; "
                "take control flow that depends on data out of forward()"
            )
