"""Fake quantisation with a straight-through estimator, for weights and for activations.

Rounding is half up everywhere, floor(x + 1/2): what a rounding right shift does in hardware.
Ranges and scales follow Krishnamoorthi (arXiv 1806.08342, sections 2 and 3): they always contain
0, weights are symmetric per output channel, activations asymmetric per tensor. That activations
are unsigned, that weights use the full range, and the scale at 2 bit are ours (docs/adr/0004).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hw.precision import WeightMode
from quant.allocation import ACT_BITS, LEAST_ACT_BITS

TWO_BIT_CLIP = 0.5
"""Share of the min-max range that a 2-bit scale covers."""

LEAST_SCALE = 1e-12


def round_half_up(x: Tensor) -> Tensor:
    """Round to the nearest integer, halves towards plus infinity; float to float, any shape."""
    return torch.floor(x + 0.5)


def weight_scale(weight: Tensor, mode: WeightMode, *, narrow: bool = False) -> Tensor:
    """Scale per output channel: the smallest at which no weight is clipped; half of it at 2 bit.

    Halving at 2 bit is ours: QAT then keeps 1.5 points more (docs/adr/0004).

    Parameters
    ----------
    weight : float [M, ...]
        Output channels first.
    mode : WeightMode
        Precision.
    narrow : bool
        Whether to leave the most negative integer unused, so that the range is symmetric.

    Returns
    -------
    float [M]
        Positive; a channel of zeros gets a tiny scale.
    """
    rows = weight.detach().reshape(weight.shape[0], -1)  # [M, K]
    lowest = -mode.max if narrow else mode.min
    above = rows.amax(dim=1) / mode.max
    below = rows.amin(dim=1) / lowest
    scale = torch.maximum(above, below) * (TWO_BIT_CLIP if mode is WeightMode.W2 else 1.0)
    return scale.clamp_min(LEAST_SCALE)


def quantise_weight(
    weight: Tensor, scale: Tensor, mode: WeightMode, *, narrow: bool = False
) -> Tensor:
    """Integers of weights at given scales.

    Parameters
    ----------
    weight : float [M, ...]
        Output channels first.
    scale : float [M]
        Scale per output channel.
    mode : WeightMode
        Precision.
    narrow : bool
        As in `weight_scale`.

    Returns
    -------
    float [M, ...]
        Whole numbers within `mode`.
    """
    lowest = -mode.max if narrow else mode.min
    return round_half_up(weight / per_channel(scale, weight)).clamp(lowest, mode.max)


def fake_quantise_weight(weight: Tensor, mode: WeightMode, *, narrow: bool = False) -> Tensor:
    """Weights as the array sees them, float [M, ...]; the gradient passes straight through.

    The gradient passes everywhere, also where a 2-bit weight is clipped; the scale gets none.
    """
    scale = weight_scale(weight, mode, narrow=narrow)
    with torch.no_grad():
        integers = quantise_weight(weight, scale, mode, narrow=narrow)
        error = integers * per_channel(scale, weight) - weight
    return weight + error


@dataclass(frozen=True, kw_only=True)
class ActRange:
    """Scale and zero point of an activation tensor: x = scale * (q - zero_point), q in 0..largest.

    Parameters
    ----------
    scale : float
        Step of one integer.
    zero_point : int
        The integer that stands for 0.
    bits : int
        Of an integer, 4 to 8.
    """

    scale: float
    zero_point: int
    bits: int = ACT_BITS

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not LEAST_ACT_BITS <= self.bits <= ACT_BITS:
            raise ValueError(f"bits must be from {LEAST_ACT_BITS} to {ACT_BITS}, not {self.bits}")
        if not 0 < self.scale < float("inf"):
            raise ValueError(f"scale must be positive and finite, not {self.scale}")
        if not 0 <= self.zero_point <= self.largest:
            raise ValueError(f"zero_point must be from 0 to {self.largest}, not {self.zero_point}")

    @property
    def largest(self) -> int:
        """Largest integer; the smallest is 0."""
        return (1 << self.bits) - 1

    @classmethod
    def of(cls, low: float, high: float, bits: int = ACT_BITS) -> ActRange:
        """Range that covers [low, high] and 0; 0 itself is one of its values."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / ((1 << bits) - 1), LEAST_SCALE)
        return cls(scale=scale, zero_point=int(-low / scale + 0.5), bits=bits)

    def at(self, bits: int) -> ActRange:
        """Return the range of as many bits that covers the same interval; itself if it has them."""
        if bits == self.bits:
            return self
        low, high = -self.zero_point * self.scale, (self.largest - self.zero_point) * self.scale
        return ActRange.of(low, high, bits)


IMAGE_RANGE = ActRange(scale=1 / 255, zero_point=0)
"""Network inputs are pixel / 255, so their integers are the pixels."""


class _FakeQuantiseActivation(torch.autograd.Function):
    """Quantise and dequantise; the gradient passes inside the range only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, act_range: ActRange) -> Tensor:
        ctx.save_for_backward(x)
        ctx.range = act_range
        return _rounded(x, act_range)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        scale, zero_point = ctx.range.scale, ctx.range.zero_point
        low, high = -zero_point * scale, (ctx.range.largest - zero_point) * scale
        return torch.ops.aten.hardtanh_backward(gradients[0], x, low, high), None


def fake_quantise_activation(x: Tensor, act_range: ActRange) -> Tensor:
    """Activations as the array sees them.

    Parameters
    ----------
    x : float, any shape
    act_range : ActRange

    Returns
    -------
    float, same shape
        ``scale * (q - zero_point)``; the gradient passes where x lies inside the range.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _rounded(x, act_range)
    result: Tensor = _FakeQuantiseActivation.apply(x, act_range)  # type: ignore[no-untyped-call]
    return result


def quantise_activation(x: Tensor, act_range: ActRange) -> Tensor:
    """Integers of activations, uint8, same shape as float x."""
    q = torch.floor(x * (1 / act_range.scale) + (act_range.zero_point + 0.5))
    return q.clamp(0, act_range.largest).to(torch.uint8)


def _rounded(x: Tensor, act_range: ActRange) -> Tensor:
    scale, zero_point = act_range.scale, act_range.zero_point
    q = torch.mul(x, 1 / scale).add_(zero_point + 0.5).floor_().clamp_(0, act_range.largest)
    return q.sub_(zero_point).mul_(scale)


def per_channel(scale: Tensor, weight: Tensor) -> Tensor:
    """Give float [M] the dimensions of weights, float [M, ...], with which it broadcasts."""
    return scale.reshape(-1, *[1] * (weight.ndim - 1))


class ActQuantizer(nn.Module):
    """Fake quantiser of one tensor, shared by all layers that read it.

    While `observing`, it keeps a sample of the values. While observing, and until it has a range,
    it passes values on in float.

    Parameters
    ----------
    rectified : bool
        Whether it stands in for a ReLU: negative values become 0 and the zero point is 0.
    most : float
        Largest value, 6 where it stands in for a ReLU6; ranges end there at most.
    fixed : ActRange, optional
        A range that calibration leaves alone, that of the image.

    Attributes
    ----------
    bits : int
        Of its integers; to be changed by `set_bits`.
    sample : int
        Values kept per observed batch.
    samples : list of float [n]
        What was kept, by batch.
    ends : list of (float, float)
        Least and largest of all values, by batch.
    """

    SAMPLE = 1 << 16
    """Values kept per observed batch unless told otherwise, evenly strided."""

    def __init__(
        self, *, rectified: bool, most: float = math.inf, fixed: ActRange | None = None
    ) -> None:
        super().__init__()
        self.rectified = rectified
        self.most = most
        self.fixed = fixed is not None
        self.range = fixed
        self.bits = ACT_BITS
        self.observing = False
        self.sample = self.SAMPLE
        self.samples: list[Tensor] = []
        self.ends: list[tuple[float, float]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map float to float of the same shape, rounded to the range's grid."""
        if self.range is not None and (self.fixed or not self.observing):
            return fake_quantise_activation(x, self.range)
        x = x.clamp(0, self.most) if self.rectified else x
        if self.observing:
            flat = x.detach().flatten()
            # a view would keep the whole tensor in memory
            self.samples.append(flat[:: -(-flat.numel() // self.sample)].clone())
            low, high = flat.aminmax()
            self.ends.append((float(low), float(high)))
        return x

    def forget(self) -> None:
        """Drop what was observed."""
        self.samples, self.ends = [], []

    def set_bits(self, bits: int) -> None:
        """Take as many bits from now on; the range covers the same interval."""
        self.bits = bits
        if self.range is not None:
            self.range = self.range.at(bits)

    @contextmanager
    def at(self, bits: int, act_range: ActRange | None = None) -> Iterator[None]:
        """Have other bits for a while, in a range of that width or in the same interval."""
        before = self.bits, self.range
        self.set_bits(bits)
        self.range = self.range if act_range is None else act_range
        try:
            yield
        finally:
            self.bits, self.range = before

    def fit(self, percentile: float) -> None:
        """Set the range from the observed sample.

        Parameters
        ----------
        percentile : float
            Values of the sample above it and below 100 minus it are clipped; 99.9 in SigmaQuant.
            100 spans all values, those out of the sample, too.
        """
        if self.fixed or not self.samples:
            return
        if percentile == 100:
            lows, highs = zip(*self.ends, strict=True)
            self.range = ActRange.of(0.0 if self.rectified else min(lows), max(highs), self.bits)
            self.forget()
            return
        values = torch.cat(self.samples)
        count = values.numel()
        rank = min(count, max(1, round(count * percentile / 100)))
        high = float(values.kthvalue(rank).values)
        low = 0.0 if self.rectified else float(values.kthvalue(count - rank + 1).values)
        self.range = ActRange.of(low, high, self.bits)
        self.forget()
