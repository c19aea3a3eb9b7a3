"""Learned step sizes: weights at explicit scales, which are trained with them.

Esser et al., Learned Step Size Quantization, ICLR 2020 (arXiv 1902.08153). With a weight w, its
channel's scale s, and integers from -Qn to Qp, the gradients of w' = s * clamp(round(w / s)) are

    dw'/dw = 1 where -Qn < w / s < Qp, else 0                                          (equation 5)
    dw'/ds = round(w / s) - w / s there, else -Qn or Qp                                (equation 3)

and that of the scale is multiplied by 1 / sqrt(N * Qp), N the weights of the channel (section 2.2).
Ours: the scale is that of an output channel, and rounding is half up (docs/numerics.md).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from hw.precision import WeightMode
from quant.quantizer import per_channel, round_half_up


class _AtScale(torch.autograd.Function):
    """Quantise and dequantise at a scale; gradients as in the module's docstring."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        exact = weight / per_channel(scale, weight)  # [M, ...]
        integers = round_half_up(exact).clamp(low, high)
        inside = (exact > low) & (exact < high)
        ctx.save_for_backward(inside, integers - exact * inside)
        ctx.gain = 1 / math.sqrt(weight[0].numel() * high)
        return integers * per_channel(scale, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        inside, slope = ctx.saved_tensors
        by_channel = (gradients[0] * slope).flatten(1).sum(dim=1)
        return gradients[0] * inside, ctx.gain * by_channel, None, None


def fake_quantise_at(
    weight: Tensor, scale: Tensor, mode: WeightMode, *, narrow: bool = False
) -> Tensor:
    """Weights as the array sees them at given scales.

    Parameters
    ----------
    weight : float [M, ...]
        Output channels first.
    scale : float [M]
        Positive.
    mode : WeightMode
        Precision.
    narrow : bool
        Whether the most negative integer stays unused.

    Returns
    -------
    float [M, ...]
        ``scale * integer``; weight and scale get the gradients of the module's docstring.
    """
    lowest = -mode.max if narrow else mode.min
    result: Tensor = _AtScale.apply(weight, scale, lowest, mode.max)  # type: ignore[no-untyped-call]
    return result
