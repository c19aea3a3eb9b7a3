"""Batch norms behind quantised weights: they get what quantisation changed of what they see.

New statistics from few images are noisier than those of training. What quantisation changes of them
is not: the same images go through the float and the quantised network, and the running mean takes
the difference of the two means, the running variance the ratio of the two variances. Ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quant.batches import at_once
from quant.layers import QuantNetwork
from quant.network import Network, Norm

BATCH = 128
RATIOS = (0.25, 4.0)
"""Least and largest change of a variance: a channel that nearly never moves has no sound ratio."""

_LEAST_VARIANCE = 1e-12

Moments = tuple[Tensor, Tensor]


def parts(images: Tensor, most: int = BATCH) -> tuple[Tensor, ...]:
    """Cut images, two or more, into batches as large as memory allows, none of a single image."""
    size = max(2, at_once(tuple(images.shape[1:]), most))
    return torch.tensor_split(images, max(1, len(images) // size))


@torch.no_grad()
def batch_moments(
    module: nn.Module, norms: Mapping[str, str], images: Tensor
) -> dict[str, Moments]:
    """Return mean and variance that batch norms see, each normalising by its batch.

    Parameters
    ----------
    module : module
        In evaluation mode; left as it is.
    norms : mapping of str to str
        Paths of the batch norms, by layer.
    images : float [N, C, H, W]
        Two or more.

    Returns
    -------
    dict of str to (float [M], float [M])
        By layer; the means over the batches.
    """
    module = copy.deepcopy(module).eval()
    found = {}
    for name, path in norms.items():
        norm = module.get_submodule(path)
        assert isinstance(norm, Norm)
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches seen
        norm.train()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        found[name] = (norm.running_mean, norm.running_var)
    for batch in parts(images):
        module(batch)
    return found


@torch.no_grad()
def match_norms(quantised: QuantNetwork, network: Network, images: Tensor) -> None:
    """Move the statistics of all folded batch norms by what quantisation changed.

    Parameters
    ----------
    quantised : QuantNetwork
        Changed in place; its batch norms have the statistics of the float network, its activations
        no ranges yet.
    network : Network
        In float.
    images : float [N, C, H, W]
        Calibration images, two or more.
    """
    norms = {layer.name: layer.norm for layer in network.layers if layer.norm is not None}
    if not norms:
        return
    before = batch_moments(network.module, norms, images)
    now = batch_moments(quantised.module, {name: f"{name}.norm" for name in norms}, images)
    for name, path in norms.items():
        plain, norm = network.module.get_submodule(path), quantised.layer(name).norm
        assert isinstance(plain, Norm)
        assert norm is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        sign = torch.where(plain.weight < 0, -1.0, 1.0)  # as QuantLayer makes gains positive
        norm.running_mean += now[name][0] - sign * before[name][0]
        moved = before[name][1] > _LEAST_VARIANCE
        ratio = torch.where(moved, now[name][1] / before[name][1].clamp_min(_LEAST_VARIANCE), 1.0)
        norm.running_var *= ratio.clamp(*RATIOS)
