"""Second-order sensitivities: Hessian trace and Fisher information times squared perturbations.

Hessian: HAWQ-V2 (arXiv 1911.03852) multiplies the mean trace of a layer's Hessian, estimated with
Hutchinson's random signs, by the squared norm of the weights' perturbation. Fisher: the expected
squared gradient of the log-likelihood stands for the Hessian's diagonal, element by element
(Theis et al., arXiv 1801.05787). Ours: labels of the Fisher information are drawn from the
network's own outputs; perturbations are those of the weights with batch norm apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from hw.precision import WeightMode
from quant.graph import Network, WeightLayer
from quant.quantizer import quantise_weight, weight_scale

Choices = Mapping[str, tuple[WeightMode, ...]]
VECTORS = 8
"""Random sign vectors of Hutchinson's estimate."""


def hessian(
    network: Network, choices: Choices, images: Tensor, labels: Tensor, *, seed: int
) -> dict[str, dict[WeightMode, float]]:
    """Half the mean trace times the squared perturbation; a negative trace counts as 0.

    Parameters
    ----------
    network : Network
        In float.
    choices : mapping of str to tuple of WeightMode
        Precisions of each layer.
    images : float32 [N, C, H, W]
    labels : int64 [N]
    seed : int
        Of the random signs.
    """
    traces = hutchinson(network, tuple(choices), images, labels, seed=seed)
    found: dict[str, dict[WeightMode, float]] = {}
    for name, modes in choices.items():
        weight = network.weight(name)
        mean = max(0.0, traces[name]) / weight.numel()
        found[name] = {
            mode: 0.5 * mean * float(perturbation(weight, mode).square().sum()) for mode in modes
        }
    return found


def hutchinson(
    network: Network, names: tuple[str, ...], images: Tensor, labels: Tensor, *, seed: int
) -> dict[str, float]:
    """Trace of each layer's block of the Hessian of the mean cross-entropy, estimated."""
    weights = [_weight(network, name) for name in names]
    generator = torch.Generator().manual_seed(seed)
    sums = dict.fromkeys(names, 0.0)
    with _differentiable(weights):
        loss = functional.cross_entropy(network.module.eval()(images), labels)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        # layer by layer: signs on all layers at once would cost less, but the blocks between
        # layers, whose mean is 0, would drown the estimate
        for name, weight, gradient in zip(names, weights, gradients, strict=True):
            for _ in range(VECTORS):
                sign = _signs(weight, generator)
                (product,) = torch.autograd.grad(gradient, weight, sign, retain_graph=True)
                sums[name] += float((sign * product).sum()) / VECTORS
    return sums


def fisher(
    network: Network, choices: Choices, images: Tensor, *, seed: int
) -> dict[str, dict[WeightMode, float]]:
    """Half the sum over weights of Fisher information times squared perturbation.

    Parameters
    ----------
    network : Network
        In float.
    choices : mapping of str to tuple of WeightMode
        Precisions of each layer.
    images : float32 [N, C, H, W]
        One gradient is taken of each.
    seed : int
        Of the labels, drawn from the network's outputs.
    """
    weights = {name: _weight(network, name) for name in choices}
    generator = torch.Generator().manual_seed(seed)
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with _differentiable(weights.values()):
        for image in images:
            logits = network.module.eval()(image[None])  # [1, classes]
            label = torch.multinomial(
                functional.softmax(logits.detach(), dim=1), 1, generator=generator
            )
            loss = functional.cross_entropy(logits, label[0])
            for name, gradient in zip(
                weights, torch.autograd.grad(loss, list(weights.values())), strict=True
            ):
                squares[name] += gradient.square() / len(images)
    return {
        name: {
            mode: 0.5 * float((squares[name] * perturbation(weights[name], mode).square()).sum())
            for mode in modes
        }
        for name, modes in choices.items()
    }


@torch.no_grad()
def perturbation(weight: Tensor, mode: WeightMode) -> Tensor:
    """Return what quantisation adds to weights, float [M, ...]."""
    scale = weight_scale(weight, mode)
    step = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return quantise_weight(weight, scale, mode) * step - weight


def _weight(network: Network, name: str) -> Tensor:
    layer = network.module.get_submodule(name)
    assert isinstance(layer, WeightLayer)
    return layer.weight


@contextmanager
def _differentiable(weights: Collection[Tensor]) -> Iterator[None]:
    """Let gradients flow to weights, and leave them as they were."""
    needed = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight, before in zip(weights, needed, strict=True):
            weight.requires_grad_(before)


def _signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, weight.shape, generator=generator)
    return (2 * signs - 1).to(weight.dtype)
