"""Networks with folded batch norms, as the whitepaper quantises and trains them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.batches import train_batches
from quant.calibrate import calibration_batches
from quant.data import Images
from quant.graph import Network, Norm, WeightLayer
from quant.ptq.network import collect
from quant.ptq.norms import gain_between
from quant.ptq.ranges import ActGrid, RangeQuantizer
from quant.ptq.schemes import Scheme, fake_quantised
from quant.ptq.statistics import LayerStatistics, output_moments
from quant.qat import QatSettings, lr_share
from quant.quant_network import QuantNetwork, uniform_bits

FREEZE = 0.5
"""Share of the training steps after which batch-norm statistics stay; ours."""


class FoldedLayer(nn.Module):
    """A layer that folds its batch norm into the weights before it quantises them.

    In training, with the statistics not yet frozen, weights are folded with the running variance,
    which changes slowly, and the output is corrected by the ratio of the deviations, so that it is
    normalised by the batch (arXiv 1806.08342, section 3.2.2). Frozen, and in evaluation, it is what
    integer hardware runs.

    Parameters
    ----------
    layer : Conv2d or Linear
        Copied.
    norm : batch norm, optional
        That of the layer's output; copied.
    scheme : Scheme
    """

    gain: Tensor
    offset: Tensor

    def __init__(self, layer: WeightLayer, norm: Norm | None, scheme: Scheme) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.norm = copy.deepcopy(norm)
        self.scheme = scheme
        self.frozen = False
        self.fixed: Tensor | None = None
        """Folded weights that an optimiser has put on a grid, float [M, ...]; else the scheme's."""
        outputs = layer.weight.shape[0]
        self.register_buffer("gain", torch.ones(outputs))
        self.register_buffer("offset", torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map float activations to float sums, batch norm included."""
        if self.norm is None or not self.training or self.frozen:
            weight, bias = self.folded()
            y = self._product(x, self._on_grid(weight))
            gain = _over_channels(self.gain, y)
            return (y + _over_channels(bias, y)) * gain + _over_channels(self.offset, y)
        return self._corrected(x, self.norm)

    def _corrected(self, x: Tensor, norm: Norm) -> Tensor:
        plain = self._product(x, self.layer.weight)
        channels = [d for d in range(plain.ndim) if d != 1]
        variance, mean = torch.var_mean(plain, dim=channels, correction=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        running = (norm.running_var + norm.eps).sqrt()
        deviation = (variance + norm.eps).sqrt()
        folded = self.layer.weight * _first(norm.weight / running, self.layer.weight)
        y = self._product(x, fake_quantised(folded, self.scheme))
        shift = norm.bias - norm.weight * mean / deviation
        with torch.no_grad():
            momentum = 0.1 if norm.momentum is None else norm.momentum
            bias = 0.0 if self.layer.bias is None else self.layer.bias
            norm.running_mean.lerp_(mean + bias, momentum)
            norm.running_var.lerp_(variance, momentum)
        return y * _over_channels(running / deviation, y) + _over_channels(shift, y)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weights float [M, ...] and biases float [M], the batch norm folded in, in float."""
        weight = self.layer.weight
        bias = torch.zeros(len(weight)) if self.layer.bias is None else self.layer.bias
        if self.norm is None:
            return weight, bias
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        gain = self.norm.weight / (variance + self.norm.eps).sqrt()
        return weight * _first(gain, weight), (bias - mean) * gain + self.norm.bias

    def _on_grid(self, folded: Tensor) -> Tensor:
        return fake_quantised(folded, self.scheme) if self.fixed is None else self.fixed

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            c = self.layer
            return functional.conv2d(x, weight, None, c.stride, c.padding, c.dilation, c.groups)
        return functional.linear(x, weight)

    @torch.no_grad()
    def correct(self, before: LayerStatistics, now: LayerStatistics) -> None:
        """Apply the scheme's corrections.

        Parameters
        ----------
        before, now : LayerStatistics
            Of the layer's inputs in the float network, and behind the quantised layers before it.
        """
        weight, bias = (value.detach().double() for value in self.folded())
        quantised = self._on_grid(weight.float()).double()
        if self.scheme.bias_correction:
            added, _ = output_moments(quantised - weight, before)
            self.offset.copy_(-added)
        if self.scheme.reestimate_norms:
            wanted, wanted_variance = output_moments(weight, before)
            found, variance = output_moments(quantised, now)
            gain = gain_between(wanted_variance, variance)
            self.gain.copy_(gain)
            self.offset.copy_(wanted + bias - (found + bias) * gain)


class FoldedNetwork(nn.Module):
    """A traced network, quantised by a scheme of the whitepaper.

    Parameters
    ----------
    network : Network
        In float; left as it is.
    scheme : Scheme
    """

    def __init__(self, network: Network, scheme: Scheme) -> None:
        super().__init__()
        self.network = network
        self.scheme = scheme
        frame = QuantNetwork(network, uniform_bits(network, WeightMode.W8))
        self.module = frame.module
        for tensor, path in frame.act_quantizers.items():
            image = frame.act_quantizer(tensor).fixed and scheme.act_bits is not None
            grid = ActGrid(step=1 / 255, zero_point=0, bits=8) if image else None
            known = frame.act_quantizer(tensor)
            own = RangeQuantizer(rectified=known.rectified, most=known.most, grid=grid)
            self.module.set_submodule(path, own)
        for layer in network.layers:
            norm = network.module.get_submodule(layer.norm) if layer.norm else None
            plain = network.module.get_submodule(layer.name)
            assert isinstance(plain, WeightLayer)
            assert norm is None or isinstance(norm, Norm)
            self.module.set_submodule(layer.name, FoldedLayer(plain, norm, scheme))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float [N, C, H, W], to logits, float [N, classes]."""
        return self.module(x)  # type: ignore[no-any-return]

    def layers(self) -> Iterator[tuple[str, FoldedLayer]]:
        """Yield names and layers in order of execution."""
        for layer in self.network.layers:
            found = self.module.get_submodule(layer.name)
            assert isinstance(found, FoldedLayer)
            yield layer.name, found

    def correct(self, images: Tensor) -> None:
        """Apply bias correction and new norms, layer after layer, as far as the scheme has them.

        Parameters
        ----------
        images : float [N, C, H, W]
            Calibration images.
        """
        if not (self.scheme.bias_correction or self.scheme.reestimate_norms):
            return
        self.eval()
        for name, layer in self.layers():
            before, now = (LayerStatistics(layer.layer, name) for _ in range(2))
            plain = self.network.module.get_submodule(name)
            collect(self.network.module, plain, before, images)
            collect(self, layer, now, images)
            layer.correct(before, now)

    @torch.no_grad()
    def calibrate(self, data: Images, *, batches: int = 8, seed: int = 0) -> None:
        """Choose the activation grids on training batches, weights quantised."""
        if self.scheme.act_bits is None:
            return
        quantizers = [m for m in self.modules() if isinstance(m, RangeQuantizer)]
        self.eval()
        for quantizer in quantizers:
            quantizer.observing = True
        for images in calibration_batches(data, batches=batches, seed=seed):
            self(images)
        for quantizer in quantizers:
            quantizer.observing = False
            if not quantizer.fixed:
                quantizer.fit(self.scheme.calibration, self.scheme.act_bits)


def train_folded(
    network: FoldedNetwork,
    data: Images,
    settings: QatSettings,
    *,
    freeze: float = FREEZE,
    on_step: Callable[[], None] = lambda: None,
) -> None:
    """Train with folded norms: corrected at first, then with frozen statistics.

    Parameters
    ----------
    network : FoldedNetwork
        Changed in place, left in evaluation mode; calibrated, if it quantises activations. Its
        corrections (`FoldedNetwork.correct`) and optimised weights are dropped: training makes up
        for what they did.
    data : Images
        Training images.
    settings : QatSettings
        The recipe; without distillation.
    freeze : float
        Share of the steps after which the statistics of the batch norms stay.
    on_step : callable
        Called after each step.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.peak_lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: lr_share(step, settings.steps)
    )
    for _, layer in network.layers():
        layer.gain.fill_(1.0)
        layer.offset.zero_()
        layer.fixed = None
    network.train()
    batches = train_batches(
        data, steps=settings.steps, size=settings.batch, seed=settings.seed, augment=False
    )
    for step, (images, labels) in enumerate(batches):
        for _, layer in network.layers():
            layer.frozen = step >= freeze * settings.steps
        loss = functional.cross_entropy(network(images), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        on_step()
    network.eval()


def _over_channels(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))


def _first(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (like.ndim - 1))
