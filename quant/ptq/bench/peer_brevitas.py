"""Brevitas' GPTQ: run by `quant.ptq.bench.networks` where Brevitas is installed.

The functions are those of Brevitas' own example for image classification; weights and biases as the
array has them: per channel, symmetric, biases of 32 bit; activations of 8 bit per tensor.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from quant.ptq.bench.peers import Task, main

RECIPES: dict[str, dict[str, Any]] = {
    "resnet8": {"narrow_range": False, "bias_correction": True},
    "dscnn": {"narrow_range": True, "bias_correction": False},
}
"""The best of those tried at 3 bit on validation images: narrow or full range, steps by statistics
or squared error, with act-order or without, with bias correction or without, layer by layer or on
the graph (whose asymmetric activations break residual sums)."""


def quantise(task: Task, bits: int) -> tuple[nn.Module, str]:
    """Return Brevitas' network."""
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    recipe = RECIPES[task.model]
    model = preprocess_for_quantize(
        copy.deepcopy(task.network), equalize_iters=0, equalize_merge_bias=False
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
        weight_narrow_range=recipe["narrow_range"],
        act_param_method="stats",
        weight_quant_type="sym",
    )
    with torch.no_grad():
        quantised.eval()(loader[0][0])  # initialises quantisers, as in their example
    ptq_common.calibrate(loader, quantised)
    ptq_common.apply_gptq(loader, quantised, act_order=True)
    if recipe["bias_correction"]:
        ptq_common.apply_bias_correction(loader, quantised)
    told = "narrow" if recipe["narrow_range"] else "full"
    corrected = ", bias correction" if recipe["bias_correction"] else ""
    return quantised.eval(), f"layer by layer, act-order, {told} range{corrected}"


if __name__ == "__main__":
    main(("brevitas",), quantise)
