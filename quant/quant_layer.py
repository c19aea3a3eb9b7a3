"""A layer as the array computes it, in torch: fake-quantised, trainable, its batch norm kept."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.inplace import FoldedNorm
from quant.lsq import fake_quantise_at
from quant.network import Norm, WeightLayer, norm_affine
from quant.quantizer import (
    LEAST_SCALE,
    ActQuantizer,
    fake_quantise_weight,
    quantise_weight,
    weight_scale,
)
from quant.scales import Scales

_LEAST_GAIN = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerIntegers:
    """A layer as the array runs it.

    Parameters
    ----------
    weight : int8 [M, ...]
        Weights within the layer's mode, output channels first.
    scale : float32 [M]
        Positive; a weight of the folded layer is ``scale * weight``.
    bias : float32 [M]
        Bias of the folded layer.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]

    def bias_integers(self, act_scale: float) -> NDArray[np.int32]:
        """Biases in units of the accumulator, int32 [M]; `act_scale` is that of the input."""
        unit = self.scale.astype(np.float64) * act_scale
        limits = np.iinfo(np.int32)
        rounded = np.floor(self.bias.astype(np.float64) / unit + 0.5)
        return rounded.clip(limits.min, limits.max).astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Weights to start a layer from, made elsewhere for one precision.

    Parameters
    ----------
    weight : float [M, ...]
        As for `QuantLayer.start_from`.
    scale : float [M]
        The same.
    """

    weight: Tensor
    scale: Tensor


class QuantLayer(nn.Module):
    """A convolution or dense layer with fake-quantised weights and its batch norm.

    Folding a batch norm multiplies a channel by its gain; per-channel scales take the gain up, so
    the integers are the same before and after folding. The norm therefore stays while training
    and folds exactly afterwards. Gains are kept positive (a negative one is moved into the
    weights), so that full-range integers keep their sign.

    Parameters
    ----------
    layer : Conv2d or Linear
        Copied.
    norm : batch norm, optional
        That of the layer's output; copied.
    mode : WeightMode
        Precision; may be changed at any time, which derives the scales anew.
    narrow : bool
        Whether the most negative integer stays unused.
    scales : Scales
        Where the scales come from.

    Attributes
    ----------
    scale : Parameter, float [M], optional
        Scales of their own; None where they follow the weights (`Scales.MIN_MAX`, nothing set).
    """

    def __init__(
        self,
        layer: WeightLayer,
        norm: Norm | None,
        *,
        mode: WeightMode = WeightMode.W8,
        narrow: bool = False,
        scales: Scales = Scales.MIN_MAX,
    ) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.norm = copy.deepcopy(norm)
        self.narrow = narrow
        self.scales = scales
        self.scale: nn.Parameter | None
        self.register_parameter("scale", None)
        if self.norm is not None:
            self._make_gains_positive(self.norm)
        self._mode = mode
        self.derive_scale()

    @property
    def mode(self) -> WeightMode:
        """Precision of the weights."""
        return self._mode

    @mode.setter
    def mode(self, mode: WeightMode) -> None:
        if mode is not self._mode:
            self._mode = mode
            self.derive_scale()

    @contextmanager
    def at(self, mode: WeightMode, start: Start | None = None) -> Iterator[None]:
        """Have another precision for a while, by the rule or from a start; then all as before."""
        mode_before, scale_before = self._mode, self.scale
        weight_before = None if start is None else self.layer.weight.detach().clone()
        try:
            self.mode = mode
            if start is not None:
                self.start_from(start.weight, start.scale)
            yield
        finally:
            self._mode, self.scale = mode_before, scale_before
            if weight_before is not None:
                with torch.no_grad():
                    self.layer.weight.copy_(weight_before)

    def derive_scale(self) -> None:
        """Go back to the scales that the rule gives to the weights as they are."""
        if self.scales is Scales.MIN_MAX:
            self.scale = None
        else:
            self.set_scale(self._rule())

    def set_scale(self, scale: Tensor) -> None:
        """Give the layer scales of its own; they are trained where scales are learned.

        Parameters
        ----------
        scale : float [M]
            Of the weights as they are in `self.layer`; positive. Copied.

        Raises
        ------
        ValueError
            If its shape is another one or a scale is not positive and finite.
        """
        outputs = self.layer.weight.shape[0]
        if scale.shape != (outputs,):
            raise ValueError(f"scale must have shape ({outputs},), not {tuple(scale.shape)}")
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise ValueError("scale must be positive and finite in every channel")
        learned = self.scales is Scales.LEARNED
        self.scale = nn.Parameter(scale.detach().clone(), requires_grad=learned)

    def start_from(self, weight: Tensor, scale: Tensor) -> None:
        """Take weights and their scales from elsewhere, for example from GPTQ.

        Parameters
        ----------
        weight : float [M, ...]
            In place of `self.layer.weight`: before folding, and with the signs that a batch norm
            of positive gains makes; copied.
        scale : float [M]
            As in `set_scale`.

        Raises
        ------
        ValueError
            If a shape is another one or a scale is not positive and finite.
        """
        if weight.shape != self.layer.weight.shape:
            raise ValueError(
                f"weight must have shape {tuple(self.layer.weight.shape)}, "
                f"not {tuple(weight.shape)}"
            )
        self.set_scale(scale)
        with torch.no_grad():
            self.layer.weight.copy_(weight)

    def _rule(self) -> Tensor:
        return weight_scale(self.layer.weight, self.mode, narrow=self.narrow)

    @torch.no_grad()
    def _make_gains_positive(self, norm: Norm) -> None:
        sign = torch.where(norm.weight < 0, -1.0, 1.0)
        assert norm.running_mean is not None
        self.layer.weight.mul_(sign.reshape(-1, *[1] * (self.layer.weight.ndim - 1)))
        for values in (self.layer.bias, norm.weight, norm.running_mean):
            if values is not None:
                values.mul_(sign)
        self.clamp_gains()

    @torch.no_grad()
    def clamp_gains(self) -> None:
        """Keep the batch norm's gains and own scales positive; called after each training step."""
        if self.norm is not None:
            self.norm.weight.clamp_(min=_LEAST_GAIN)
        if self.scale is not None:
            self.scale.clamp_(min=LEAST_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Map float activations to float sums, batch norm included."""
        weight, scale = self.layer.weight, self.scale
        if scale is None:
            weight = fake_quantise_weight(weight, self.mode, narrow=self.narrow)
        else:
            weight = fake_quantise_at(weight, scale, self.mode, narrow=self.narrow)
        if isinstance(self.layer, nn.Conv2d):
            y: Tensor = self.layer._conv_forward(x, weight, self.layer.bias)  # any padding
        else:
            y = functional.linear(x, weight, self.layer.bias)
        return y if self.norm is None else self.norm(y)

    @torch.no_grad()
    def integers(self) -> LayerIntegers:
        """Return the layer's integers, scales and biases with the batch norm folded in."""
        scale = self._rule() if self.scale is None else self.scale.detach().clone()
        weight = quantise_weight(self.layer.weight, scale, self.mode, narrow=self.narrow)
        bias = torch.zeros_like(scale) if self.layer.bias is None else self.layer.bias
        if self.norm is not None:
            gain, offset = norm_affine(self.norm)
            scale, bias = scale * gain, bias * gain + offset
        return LayerIntegers(
            weight=weight.to(torch.int8).cpu().numpy(),
            scale=scale.cpu().numpy(),
            bias=bias.detach().cpu().numpy(),
        )


class InPlaceLayer(QuantLayer):
    """A layer that stands where the float one was, and quantises its own input.

    It has the attributes of the float layer, for code that asks for them.

    Parameters
    ----------
    layer, norm, narrow, scales
        As of `QuantLayer`.
    quantizer : ActQuantizer
        Of the input.
    follower : FoldedNorm, optional
        What stands where `norm` was.
    """

    def __init__(
        self,
        layer: WeightLayer,
        norm: Norm | None,
        *,
        quantizer: ActQuantizer,
        follower: FoldedNorm | None,
        narrow: bool,
        scales: Scales = Scales.MIN_MAX,
    ) -> None:
        super().__init__(layer, norm, narrow=narrow, scales=scales)
        self.quantizer = quantizer
        self.follower = follower

    def forward(self, input: Tensor) -> Tensor:
        """Map float activations, not yet quantised, to float sums, batch norm included."""
        y = super().forward(self.quantizer(input))
        if self.follower is not None:
            self.follower.waiting.append(y)
        return y

    def __getattr__(self, name: str) -> Any:
        """Return an own attribute, or else the float layer's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)
