"""Maps of Sony's Model Compression Toolkit (MCT): `python -m quant.bench.mct`.

Set-up, in a virtual environment of its own (versions that were used are in the maps' file):

    pip install torch model-compression-toolkit torchvision threadpoolctl safetensors typer rich

`mct.ptq.pytorch_post_training_quantization` under a `ResourceUtilization` of the weights' memory.
MCT measures distances between the float and the mixed-precision network's tensors and solves an
integer program (source: MCT 2.6.1, core/common/mixed_precision). Its IMX500 target offers 2, 4 and
8 bit; the same target with 6 bit beside them is made by MCT's own functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch

from quant.bench.peers import BATCH, CHOICES, IMAGES, Recipe, Task, write_maps

MEASURED = 128
"""Images of the distance measurement; MCT's default is 32."""
COMMON = (
    f"IMX500 target v1.0; {IMAGES} images in batches of {BATCH}; num_of_images={MEASURED}; "
    "all else by default"
)
RECIPES = (
    Recipe(name="mct", choices=CHOICES, settings=f"{COMMON}; 6 bit added", option="AVG"),
    Recipe(name="mct-248", choices=(2, 4, 8), settings=COMMON, option="AVG", seeds=(0,)),
    Recipe(
        name="mct-hessian",
        choices=CHOICES,
        settings=f"{COMMON}; 6 bit added; use_hessian_based_scores=True",
        option="HESSIAN",
        seeds=(0,),
    ),
)


def ask(task: Task, recipe: Recipe, average: float) -> dict[str, int]:
    """Return what MCT chooses within a number of average bits."""
    import model_compression_toolkit as mct

    def images() -> Iterator[list[torch.Tensor]]:
        for batch, _ in task.batches():
            yield [batch]

    precision = mct.core.MixedPrecisionQuantizationConfig(
        num_of_images=MEASURED, use_hessian_based_scores=recipe.option == "HESSIAN"
    )
    total = sum(task.weights.values())
    network, _ = mct.ptq.pytorch_post_training_quantization(
        task.network,
        images,
        target_resource_utilization=mct.core.ResourceUtilization(
            weights_memory=average * total / 8
        ),
        core_config=mct.core.CoreConfig(mixed_precision_config=precision),
        target_platform_capabilities=_target(recipe.choices),
    )
    ours = {name.replace(".", "_"): name for name in task.weights}
    return {
        ours[name]: int(module.weights_quantizers["weight"].num_bits)
        for name, module in network.named_modules()
        if name in ours
    }


def _target(choices: tuple[int, ...]) -> Any:
    """MCT's IMX500 target with these bits of weights."""
    from model_compression_toolkit.target_platform_capabilities.constants import (
        KERNEL_ATTR,
        WEIGHTS_N_BITS,
    )
    from model_compression_toolkit.target_platform_capabilities.tpc_models.imx500_tpc.v1_0 import (
        tpc,
    )

    base, _, default = tpc.get_op_quantization_configs()
    configs = [
        base.clone_and_edit(attr_to_edit={KERNEL_ATTR: {WEIGHTS_N_BITS: bits}})
        for bits in sorted(choices, reverse=True)
    ]
    return tpc.generate_tpc(
        default_config=default,
        base_config=configs[0],
        mixed_precision_cfg_list=configs,
        name="bits",
    )


def _stand_in_for_torchvision() -> None:
    """Declare two operators of torchvision that MCT needs to be there and our networks do not use.

    The package index has torchvision built for CUDA only, whose library a CPU build of torch
    cannot load; without it torchvision does not import.
    """
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        schema = f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(schema)  # type: ignore[no-untyped-call]
    _KEPT.append(library)


_KEPT: list[Any] = []
"""Keeps the library, whose operators go with it."""


if __name__ == "__main__":
    if not torch.cuda.is_available():
        _stand_in_for_torchvision()
    write_maps("mct", "model-compression-toolkit", RECIPES, ask, only="".join(sys.argv[1:2]))
