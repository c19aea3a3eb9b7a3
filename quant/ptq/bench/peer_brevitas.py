"""Brevitas' GPTQ: run by `quant.ptq.bench.networks` where Brevitas is installed.

The functions are those of Brevitas' own example for image classification; weights and biases as the
array has them: per channel, symmetric, biases of 32 bit; activations of 8 bit per tensor.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import torch
from torch import nn

from quant.ptq.bench.peers import Task, main

RECIPE = {
    "weight_param_method": "stats",
    "weight_narrow_range": False,
    "act_param_method": "stats",
    "act_quant_percentile": 99.999,
    "act_order": True,
    "bias_correction": True,
}
"""The best of those tried on validation images; see `docs/ptq-networks.md`."""


def quantise(task: Task, bits: int) -> tuple[nn.Module, str]:
    """Return Brevitas' network."""
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq import ptq_common

    recipe: dict[str, Any] = RECIPE | eval_free(os.environ.get("BREVITAS_RECIPE", ""))
    model = preprocess_for_quantize(
        copy.deepcopy(task.network), equalize_iters=0, equalize_merge_bias=False
    )
    # their functions take images with labels
    loader = [(batch, torch.zeros(len(batch))) for batch in task.batches()]
    quantised = ptq_common.quantize_model(
        model,
        "fx",
        weight_bit_width=bits,
        act_bit_width=8,
        bias_bit_width=32,
        weight_quant_granularity="per_channel",
        act_quant_percentile=recipe["act_quant_percentile"],
        act_quant_type="asym",
        scale_factor_type="float_scale",
        quant_format="int",
        weight_param_method=recipe["weight_param_method"],
        weight_narrow_range=recipe["weight_narrow_range"],
        act_param_method=recipe["act_param_method"],
        weight_quant_type="sym",
    )
    with torch.no_grad():
        quantised.eval()(loader[0][0])  # initialises quantisers, as in their example
    ptq_common.calibrate(loader, quantised)
    ptq_common.apply_gptq(loader, quantised, act_order=recipe["act_order"])
    if recipe["bias_correction"]:
        ptq_common.apply_bias_correction(loader, quantised)
    return quantised.eval(), ", ".join(f"{k} {v}" for k, v in recipe.items())


def eval_free(text: str) -> dict[str, Any]:
    """Options as JSON, for trials; none if empty."""
    import json

    return dict(json.loads(text)) if text else {}


if __name__ == "__main__":
    main(("brevitas",), quantise)
