"""Networks of any scheme as tensors of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from quant.errors import QuantError
from quant.network import Network
from quant.ptq.folded import FoldedNetwork
from quant.ptq.grid import IntegerRange, WeightGrid
from quant.ptq.optimise import OptimisedWeights
from quant.ptq.ranges import ActGrid, RangeQuantizer
from quant.ptq.schemes import Scheme, WeightScheme

ACTS = "acts."
"""Begins the names of activation grids."""


def folded_tensors(module: FoldedNetwork) -> dict[str, Tensor]:
    """Return what a network of any scheme has beside its integers.

    Outputs of a layer are ``(sums + bias) * gain + offset``, sums those of real inputs with
    ``(weight - zero_point) * scale``; the batch norm, the signs of its gains too, is in them.

    Returns
    -------
    dict
        ``<layer>.bias``, ``<layer>.gain``, ``<layer>.offset``: float32 [M]; ``acts.<quantiser>``:
        float64 [3], step, zero point and bits of an activation, for those that are quantised.
    """
    found: dict[str, Tensor] = {}
    for name, layer in module.layers():
        found[f"{name}.bias"] = layer.folded()[1].detach()
        found[f"{name}.gain"] = layer.gain
        found[f"{name}.offset"] = layer.offset
    for path, quantizer in _quantizers(module).items():
        if quantizer.grid is not None:
            grid = quantizer.grid
            values = [grid.step, grid.zero_point, grid.bits]
            found[ACTS + path] = torch.tensor(values, dtype=torch.float64)
    return found


@torch.no_grad()
def rebuilt(network: Network, tensors: Mapping[str, Tensor]) -> FoldedNetwork:
    """Return the network that quantised.safetensors of a run holds.

    Parameters
    ----------
    network : Network
        Gives the operations; its weights and batch norms are not used.
    tensors : mapping
        Content of the file (`quant.ptq.result.tensors`), of a scheme that the array does not run.

    Raises
    ------
    QuantError
        If a tensor is missing.
    """
    integers = IntegerRange(bits=8, narrow=False)  # every grid is put below
    scheme = Scheme(weights=WeightScheme.CHANNEL_ASYMMETRIC, integers=integers, act_bits=None)
    found = FoldedNetwork(network, scheme)
    try:
        for name, layer in found.layers():
            scale, zero_point = tensors[f"{name}.scale"], tensors[f"{name}.zero_point"]
            grid = WeightGrid(
                range=integers,
                scale=scale.double().numpy(),
                zero_point=zero_point.double().numpy(),
            )
            stored = OptimisedWeights(integers=tensors[f"{name}.weight"], grid=grid)
            layer.fixed, layer.norm = stored.values(), None
            layer.layer.bias = nn.Parameter(tensors[f"{name}.bias"].clone())
            layer.gain.copy_(tensors[f"{name}.gain"])
            layer.offset.copy_(tensors[f"{name}.offset"])
    except KeyError as error:
        raise QuantError(
            f"tensors must be those of a scheme that the array does not run, not without {error}"
        ) from error
    for path, quantizer in _quantizers(found).items():
        if ACTS + path in tensors:
            step, zero, bits = tensors[ACTS + path].tolist()
            quantizer.grid = ActGrid(step=step, zero_point=int(zero), bits=int(bits))
    return found.eval()


def _quantizers(module: FoldedNetwork) -> dict[str, RangeQuantizer]:
    modules = module.module.named_modules()
    return {path: found for path, found in modules if isinstance(found, RangeQuantizer)}
