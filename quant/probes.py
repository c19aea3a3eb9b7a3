"""Forward-only probes: what quantising one layer alone does to the outputs.

The divergence KL(p || q) of the softmax outputs, in nats, mean over images; p with every layer at
the reference precision, q with one layer at another one. Ours: batch norms take the statistics of
the probe's own images, as a recalibration would give them, in the reference, too; else a 2-bit
layer would be blamed for a shift of mean and variance that calibration removes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.precision import WeightMode
from quant.device import device_of
from quant.layers import QuantNetwork


@torch.no_grad()
def logit_divergence(
    quantised: QuantNetwork, choices: Mapping[str, tuple[WeightMode, ...]], images: Tensor
) -> dict[str, dict[WeightMode, float]]:
    """Probe every layer at each of its choices.

    Parameters
    ----------
    quantised : QuantNetwork
        Calibrated at the reference precision; as before afterwards, in evaluation mode.
    choices : mapping of str to tuple of WeightMode
        Precisions to probe.
    images : float32 [N, C, H, W]
        At least two.
    """
    before, snapshot = quantised.bits, quantised.snapshot()
    norms = [m for m in quantised.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    images = images.to(device_of(quantised))
    quantised.eval()
    for norm in norms:
        norm.train()
    reference = functional.log_softmax(quantised(images), dim=1)  # [N, classes]
    found: dict[str, dict[WeightMode, float]] = {}
    for name, modes in choices.items():
        found[name] = {}
        for mode in modes:
            if mode is before[name]:
                found[name][mode] = 0.0
                continue
            with quantised.layer(name).at(mode):
                probed = functional.log_softmax(quantised(images), dim=1)
            divergence = functional.kl_div(
                probed, reference, reduction="batchmean", log_target=True
            )
            found[name][mode] = max(0.0, float(divergence))
    quantised.restore(snapshot)  # the norms' running statistics have moved
    quantised.eval()
    return found
