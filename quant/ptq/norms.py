"""Batch norms that give each quantised layer the mean and variance that it had in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from quant.batches import at_once
from quant.device import device_of
from quant.network import Layer, Network, Norm
from quant.quant_network import QuantNetwork
from quant.quantizer import per_channel

BATCH = 128
MOST_GAIN = 16.0
_LEAST_VARIANCE = 1e-12


class Moments:
    """Mean and variance per channel, of one batch and of all.

    Parameters
    ----------
    sign : float [M]
        1, or -1 for a channel whose values are counted with the other sign.
    """

    def __init__(self, sign: Tensor) -> None:
        self.sign = sign
        self.count = 0
        self._sum = torch.zeros_like(sign, dtype=torch.float64)
        self._squares = torch.zeros_like(self._sum)

    def add(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Add a batch, float [N, M, ...]; returns its own mean and variance, float [M] each."""
        over = [d for d in range(y.ndim) if d != 1]
        variance, mean = torch.var_mean(y, dim=over, correction=0)
        mean = mean * self.sign
        count = y.numel() // y.shape[1]
        self.count += count
        self._sum += count * mean.double()
        self._squares += count * (variance.double() + mean.double().square())
        return mean, variance

    @property
    def mean(self) -> Tensor:
        """Of all batches, float64 [M]."""
        return self._sum / self.count

    @property
    def variance(self) -> Tensor:
        """Of all batches, float64 [M]."""
        return (self._squares / self.count - self.mean.square()).clamp_min(0)


def parts(images: Tensor, most: int = BATCH) -> tuple[Tensor, ...]:
    """Cut images into batches as large as memory allows."""
    return torch.tensor_split(images, -(-len(images) // at_once(tuple(images.shape[1:]), most)))


class FloatMoments:
    """Means and variances of what a float network's batch norms read.

    Parameters
    ----------
    network : Network
        In float.
    images : float [N, C, H, W]
        Calibration images.

    Attributes
    ----------
    batches : sequence of float [n, C, H, W]
        The images, as many together as memory allows.
    of_batch : list of dict of str to (float [M], float [M])
        By batch and layer.
    of_all : dict of str to Moments
        By layer.
    """

    @torch.no_grad()
    def __init__(self, network: Network, images: Tensor) -> None:
        norms = {layer.name: layer for layer in network.layers if layer.norm is not None}
        self.batches = parts(images)
        self.of_all = {name: Moments(_signs(network, layer)) for name, layer in norms.items()}
        self.of_batch: list[dict[str, tuple[Tensor, Tensor]]] = []
        if not norms:
            return
        device = device_of(network.module)

        def record(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, __: Any, y: Tensor) -> None:
                self.of_batch[-1][name] = self.of_all[name].add(y)

            return hook

        plain = {name: network.module.get_submodule(name) for name in norms}
        with _hooks(plain, lambda m, name: m.register_forward_hook(record(name))):
            for batch in self.batches:
                self.of_batch.append({})
                network.module(batch.to(device))


@torch.no_grad()
def follow_float(quantised: QuantNetwork, wanted: FloatMoments) -> None:
    """Change batch norms so that what they read has the float network's mean and variance.

    Both networks see the same images, so a few suffice, and what is particular to them does not
    enter: norms change by what quantisation changed. That is where it differs from
    `quant.calibrate.reestimate_norms`, which takes the statistics of the images as they are. While
    the images run, each layer's outputs are corrected batch by batch, so that later layers read
    what they will. A gain and an offset per channel, which requantisation takes up. Ours, after
    bias correction (Nagel et al., arXiv 1906.04721).

    Parameters
    ----------
    quantised : QuantNetwork
        Changed in place, left in evaluation mode; its batch norms have the statistics of the float
        network, and activations not yet calibrated stay in float.
    wanted : FloatMoments
        Of the float network.
    """
    norms = {name: quantised.layer(name).norm for name in wanted.of_all}
    if not norms:
        return
    device = device_of(quantised)
    ones = {name: torch.ones_like(m.sign, device=device) for name, m in wanted.of_all.items()}
    found = {name: Moments(one) for name, one in ones.items()}

    def correct(name: str, aims: Mapping[str, tuple[Tensor, Tensor]]) -> Callable[..., Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
            mean, variance = found[name].add(inputs[0])
            aim, spread = (value.to(device) for value in aims[name])
            gain = gain_between(spread, variance)
            return _affine(inputs[0], gain, aim - mean * gain)

        return hook

    modules = {name: norm for name, norm in norms.items() if norm is not None}
    quantised.eval()
    for batch, aims in zip(wanted.batches, wanted.of_batch, strict=True):
        with _hooks(modules, lambda m, n, a=aims: m.register_forward_pre_hook(correct(n, a))):  # type: ignore[misc]
            quantised(batch.to(device))
    for name, norm in modules.items():
        aim, now = wanted.of_all[name], found[name]
        aims_of_all = aim.mean.to(device), aim.variance.to(device)
        absorb(norm, aims_of_all, (now.mean, now.variance))


def gain_between(wanted: Tensor, found: Tensor) -> Tensor:
    """Ratio of deviations of two variances, float [M]; 1 for a channel that hardly moves.

    Within `MOST_GAIN`: a few images tell nothing of a channel that nearly never moves.
    """
    alive = torch.minimum(found, wanted) > _LEAST_VARIANCE
    gain = torch.where(alive, wanted / found.clamp_min(_LEAST_VARIANCE), 1.0).sqrt()
    return gain.clamp(1 / MOST_GAIN, MOST_GAIN)


@torch.no_grad()
def absorb(norm: Norm, wanted: tuple[Tensor, Tensor], found: tuple[Tensor, Tensor]) -> None:
    """Let a norm do, besides its own, what turns the moments `found` into those `wanted`.

    Parameters
    ----------
    norm : batch norm
        Changed in place.
    wanted, found : (float [M], float [M])
        Means and variances.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    gain = gain_between(wanted[1], found[1])
    mean.copy_(found[0] - (wanted[0] - mean) / gain)
    variance.copy_((variance + norm.eps) / gain.square() - norm.eps)


def _signs(network: Network, layer: Layer) -> Tensor:
    """-1 for channels that `QuantLayer` turned round, since the gain of their norm is negative."""
    norm = network.module.get_submodule(str(layer.norm))
    assert isinstance(norm, Norm)
    return torch.where(norm.weight < 0, -1.0, 1.0)


def _affine(y: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    over = y.transpose(0, 1)
    return (over * per_channel(gain, over) + per_channel(offset, over)).transpose(0, 1)


@contextmanager
def _hooks(
    modules: Mapping[str, nn.Module], register: Callable[[nn.Module, str], Any]
) -> Iterator[None]:
    handles = [register(module, name) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
