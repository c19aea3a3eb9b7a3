"""Maps of NVIDIA's Model Optimizer (ModelOpt): `python -m quant.bench.modelopt`.

Set-up, in a virtual environment of its own (versions that were used are in the maps' file):

    pip install torch nvidia-modelopt threadpoolctl typer safetensors

`modelopt.torch.quantization.auto_quantize` under a constraint of effective bits of the weights, by
gradients (its default) or by divergence of the outputs (source: ModelOpt 0.47, model_quant.py).
Formats are integers of 2, 4, 6 and 8 bit per output channel with 8-bit activations per tensor;
"do not quantize" is not offered.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from quant.bench.peers import BATCH, CHOICES, IMAGES, Recipe, Task, write_maps

COMMON = (
    f'{IMAGES} images in batches of {BATCH} for calibration and scores; algorithm "max"; '
    "module_search_spaces with allow_no_quant=False"
)
RECIPES = (
    Recipe(
        name="modelopt", choices=CHOICES, settings=f"{COMMON}; method=gradient", option="gradient"
    ),
    Recipe(
        name="modelopt-kl", choices=CHOICES, settings=f"{COMMON}; method=kl_div", option="kl_div"
    ),
    Recipe(
        name="modelopt-248",
        choices=(2, 4, 8),
        settings=f"{COMMON}; method=gradient",
        option="gradient",
    ),
)


def ask(task: Task, recipe: Recipe, average: float) -> dict[str, int]:
    """Return what ModelOpt chooses within a number of average bits."""
    import modelopt.torch.quantization as mtq

    batches, formats = list(task.batches()), [_format(bits) for bits in recipe.choices]
    network, _ = mtq.auto_quantize(
        copy.deepcopy(task.network),
        constraints={"effective_bits": average},
        quantization_formats=formats,
        module_search_spaces=[
            {
                "module_name_patterns": ["*"],
                "quantization_formats": formats,
                "allow_no_quant": False,
            }
        ],
        data_loader=batches,
        forward_step=_forward,
        loss_func=_loss if recipe.option == "gradient" else None,
        num_calib_steps=len(batches),
        num_score_steps=len(batches),
        method=recipe.option,
        checkpoint=str(task.folder / f"{recipe.name}.pt"),  # scores serve all numbers of bits
    )
    return {
        name: int(network.get_submodule(name).weight_quantizer.num_bits) for name in task.weights
    }


def _format(bits: int) -> dict[str, Any]:
    return {
        "quant_cfg": [
            {"quantizer_name": "*weight_quantizer", "cfg": {"num_bits": bits, "axis": 0}},
            {"quantizer_name": "*input_quantizer", "cfg": {"num_bits": 8, "axis": None}},
        ],
        "algorithm": "max",
        "effective_bits": float(bits),
    }


def _forward(network: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return network(batch[0])  # type: ignore[no-any-return]


def _loss(logits: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(logits, batch[1])


if __name__ == "__main__":
    write_maps("modelopt", "nvidia-modelopt", RECIPES, ask, only="".join(sys.argv[1:2]))
