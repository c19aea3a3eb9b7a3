"""Batch norms that give each quantised layer the mean and variance that it had in float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from quant.calibrate import calibration_batches
from quant.data import Images
from quant.layers import QuantNetwork
from quant.network import Layer, Network, Norm
from quant.quantizer import per_channel


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
        channels = len(sign)
        self._sum = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Add a batch, float [N, M, ...]; returns its own mean and variance, float [M] each."""
        over = [d for d in range(y.ndim) if d != 1]
        variance, mean = torch.var_mean(y, dim=over, correction=0)
        mean = mean * self.sign
        count = y.numel() // y.shape[1]
        self.count += count
        self._sum += count * mean.double()
        self._squares += count * (variance + mean.square()).double()
        return mean, variance

    @property
    def mean(self) -> Tensor:
        """Of all batches, float64 [M]."""
        return self._sum / self.count

    @property
    def variance(self) -> Tensor:
        """Of all batches, float64 [M]."""
        return (self._squares / self.count - self.mean.square()).clamp_min(0)


@torch.no_grad()
def follow_float(
    quantised: QuantNetwork, network: Network, data: Images, *, batches: int = 8, seed: int = 0
) -> None:
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
        Changed in place, left in evaluation mode; activations not yet calibrated stay in float.
    network : Network
        In float, of the same layers.
    data : Images
        Training images.
    batches : int
        Batches (`quant.calibrate.calibration_batches`).
    seed : int
        Of the choice of images.
    """
    layers = {n: layer for n, layer in quantised.quant_layers() if layer.norm is not None}
    norms = {name: layer.norm for name, layer in layers.items() if layer.norm is not None}
    plain = {name: network.module.get_submodule(name) for name in layers}
    signs = {layer.name: _signs(network, layer) for layer in network.layers if layer.name in layers}
    wanted = {name: Moments(sign) for name, sign in signs.items()}
    found = {name: Moments(torch.ones_like(sign)) for name, sign in signs.items()}
    latest: dict[str, tuple[Tensor, Tensor]] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, y: Tensor) -> None:
            latest[name] = wanted[name].add(y)

        return hook

    def correct(name: str) -> Callable[..., Tensor]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
            mean, variance = found[name].add(inputs[0])
            aim, spread = latest[name]
            gain = _gain(spread, variance)
            return _affine(inputs[0], gain, aim - mean * gain)

        return hook

    quantised.eval()
    for images in calibration_batches(data, batches=batches, seed=seed):
        with _hooks(plain, lambda m, name: m.register_forward_hook(record(name))):
            network.module(images)
        with _hooks(norms, lambda m, name: m.register_forward_pre_hook(correct(name))):
            quantised(images)
    for name, norm in norms.items():
        _absorb(norm, wanted[name], found[name])


def _signs(network: Network, layer: Layer) -> Tensor:
    """-1 for channels that `QuantLayer` turned round, since the gain of their norm is negative."""
    norm = network.module.get_submodule(str(layer.norm))
    assert isinstance(norm, Norm)
    return torch.where(norm.weight < 0, -1.0, 1.0)


def _absorb(norm: Norm, wanted: Moments, found: Moments) -> None:
    """Let a norm do, besides its own, the gain and offset that turn `found` into `wanted`."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    gain = _gain(wanted.variance, found.variance)
    mean.copy_(found.mean - (wanted.mean - mean) / gain)
    variance.copy_((variance + norm.eps) / gain.square() - norm.eps)


def _gain(wanted: Tensor, found: Tensor) -> Tensor:
    """Ratio of deviations, 1 for a channel without any."""
    alive = (found > 0) & (wanted > 0)
    return torch.where(alive, wanted / found.clamp_min(1e-30), 1.0).sqrt()


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
