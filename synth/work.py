"""How much of sampled operands is work."""

from __future__ import annotations

import numpy as np

from hw.precision import WeightMode
from synth.operands import LayerOperands


def working_share(layer: LayerOperands) -> float:
    """Share of K that an output channel has weights for: 1, of a depthwise layer one in its block.

    A depthwise layer is sampled as a block of M channels whose weights are block-diagonal (ADR 8):
    K runs over the pixels of all M, and channel m has weights for every M-th of them, from the
    m-th on.
    """
    weight = layer.weight[WeightMode.W8]  # [K, M]
    depth, outputs = weight.shape
    others = np.arange(depth)[:, None] % outputs != np.arange(outputs)
    return 1.0 if depth % outputs or weight[others].any() else 1 / outputs
