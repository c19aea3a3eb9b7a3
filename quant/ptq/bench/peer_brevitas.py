"""Brevitas' GPTQ: run by `quant.ptq.bench.networks` where Brevitas is installed.

The functions are those of Brevitas' own example for image classification; weights and biases as the
array has them: per channel, symmetric, biases of 32 bit; activations of 8 bit per tensor.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from quant.ptq.bench.peers import Task, main

NARROW = {"resnet8": False, "dscnn": True}
"""Whether weights leave their most negative integer unused: the better at 2 and 3 bit.

The recipe is the best of those tried at 3 and 2 bit on validation images (`--calibrate_bn` of their
example): batch norms merged or calibrated anew, narrow or full range, steps by statistics or
squared error, with act-order or without, with bias correction or without, layer by layer or on the
graph (whose asymmetric activations break residual sums). At 3 bit calibrated norms make 1.4 points
on ResNet-8 and 2.5 on the DS-CNN.
"""


def quantise(task: Task, bits: int) -> tuple[nn.Module, str]:
    """Return Brevitas' network."""
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    model = preprocess_for_quantize(
        copy.deepcopy(task.network), equalize_iters=0, equalize_merge_bias=False, merge_bn=False
    )
    # their functions take images with labels
    loader = [(batch, torch.zeros(len(batch))) for batch in task.batches()]
    quantised = ptq_common.quantize_model(
        model,
        "layerwise",
        weight_bit_width=bits,
        act_bit_width=8,
        bias_bit_width=32,
        weight_quant_granularity="per_channel",
        act_quant_percentile=99.999,
        act_quant_type="asym",
        scale_factor_type="float_scale",
        quant_format="int",
        weight_param_method="stats",
        weight_narrow_range=NARROW[task.model],
        act_param_method="stats",
        weight_quant_type="sym",
    )
    with torch.no_grad():
        quantised.eval()(loader[0][0])  # initialises quantisers, as in their example
    ptq_common.calibrate(loader, quantised)
    ptq_common.apply_gptq(loader, quantised, act_order=True)
    _calibrate_norms(loader, quantised, ptq_common.calibrate_bn)
    told = "narrow" if NARROW[task.model] else "full"
    return quantised.eval(), f"layer by layer, act-order, {told} range, batch norms calibrated"


@torch.no_grad()
def _calibrate_norms(loader: list[tuple[Tensor, Tensor]], model: nn.Module, calibrate: Any) -> None:
    """Let `calibrate` (theirs) run; channels that never move keep their statistics.

    Theirs divides by their variance, 0 in two channels of the DS-CNN, and the outputs would be NaN.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [{k: v.clone() for k, v in norm.named_buffers()} for norm in norms]
    calibrate(loader, model)
    for norm, old in zip(norms, before, strict=True):
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        wrong = ~(mean.isfinite() & variance.isfinite())
        mean[wrong], variance[wrong] = old["running_mean"][wrong], old["running_var"][wrong]


if __name__ == "__main__":
    main(("brevitas",), quantise)
