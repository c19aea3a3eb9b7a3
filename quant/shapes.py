"""Sizes of every layer of a network, as JSON: ``python -m quant.shapes -o FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hw.cli.command import beside, command_app
from quant.errors import QuantError
from quant.files import write_json

if TYPE_CHECKING:
    from torch import Tensor, nn


def layer_shapes(model: nn.Module, example: Tensor) -> list[dict[str, Any]]:
    """List the convolutions and dense layers in the order in which they run.

    Parameters
    ----------
    model : nn.Module
        The network.
    example : float [1, C, H, W]
        An input.

    Returns
    -------
    list of dict
        ``name`` and the fields of `hw.mapping.ConvShape`.

    Raises
    ------
    QuantError
        If a layer has no such shape: dilation, several strides or calls, other padding than zeros.
    """
    import torch
    from torch import nn

    from quant.network import array_gap, pads

    shapes: list[dict[str, Any]] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
            if any(shape["name"] == name for shape in shapes):
                raise QuantError(f"{name}: layer must be called once, not several times")
            if isinstance(module, nn.Linear):
                size = {"in_h": 1, "in_w": 1, "in_channels": module.in_features}
                shapes.append({"name": name} | size | {"out_channels": module.out_features})
                return
            assert isinstance(module, nn.Conv2d)
            found = array_gap(module)
            if found is not None:
                raise QuantError(f"{name}: {found}")
            left, right, top, bottom = pads(module)
            shapes.append(
                {
                    "name": name,
                    "in_h": inputs[0].shape[2],
                    "in_w": inputs[0].shape[3],
                    "in_channels": module.in_channels,
                    "out_channels": module.out_channels,
                    "kernel_h": module.kernel_size[0],
                    "kernel_w": module.kernel_size[1],
                    "stride": module.stride[0],
                    "pad_top": top,
                    "pad_left": left,
                    "pad_bottom": bottom,
                    "pad_right": right,
                    "groups": module.groups,
                }
            )

        return hook

    hooks = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        model.eval()(example)
    for hook in hooks:
        hook.remove()
    return shapes


def shipped() -> dict[str, list[dict[str, Any]]]:
    """Layers of the shipped networks, by network."""
    import torch

    from quant.catalogue import SHIPPED
    from quant.models import IMAGE_SIZE, build

    example = torch.zeros(1, 1, IMAGE_SIZE, IMAGE_SIZE)
    return {name: layer_shapes(build(name), example) for name in SHIPPED}


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON file to write.")],
) -> None:
    """Write the layers' sizes of the shipped networks."""
    write_json(output, shipped(), indent=1)
    typer.echo(f"{output}")


app = command_app(main, name="quant.shapes", place=beside("output"))

if __name__ == "__main__":
    app()
