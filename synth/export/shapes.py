"""Layers of a network from a JSON file of shapes, such as ``python -m quant.shapes`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hw.mapping import ConvShape
from hw.schedule import GemmShape
from synth.costs.check import first_breach
from synth.table import CostTableError


class _Gemm(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    pixels: int
    depth: int
    outputs: int
    groups: int = 1

    def shape(self) -> GemmShape:
        return GemmShape(**self.model_dump(exclude={"name"}))


class _Conv(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    in_h: int
    in_w: int
    in_channels: int
    out_channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    groups: int = 1

    def shape(self) -> GemmShape:
        conv = ConvShape(**self.model_dump(exclude={"name"}))
        return GemmShape(
            pixels=conv.out_h * conv.out_w,
            depth=conv.taps * conv.in_channels // conv.groups,
            outputs=conv.out_channels // conv.groups,
            groups=conv.groups,
        )


_LAYERS = TypeAdapter(Annotated[list[dict[str, Any]], Field(min_length=1)])


def load_layers(path: Path, network: str = "") -> dict[str, GemmShape]:
    """Read the layers of a network.

    Parameters
    ----------
    path : Path
        JSON: a list of layers, or such lists by the network's name. A layer has a ``name`` and
        the fields of `hw.mapping.ConvShape` or those of `hw.schedule.GemmShape`.
    network : str
        Which network; may be empty where there is only one.

    Returns
    -------
    dict of str to GemmShape
        In the order of the file.

    Raises
    ------
    CostTableError
        If the file cannot be read or a layer is malformed; one line.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CostTableError(f"{path}: cannot read the shapes ({error.strerror})") from error
    except ValueError as error:
        raise CostTableError(f"{path}: shapes must be a JSON file ({error})") from error
    if isinstance(document, dict):
        known = ", ".join(document) or "none"
        if not network and len(document) == 1:
            network = next(iter(document))
        if network not in document:
            raise CostTableError(f"{path}: network must be one of {known}, not {network or 'none'}")
        document = document[network]
    shapes: dict[str, GemmShape] = {}
    try:
        for index, layer in enumerate(_LAYERS.validate_python(document)):
            name, shape = _layer(layer, f"{path}: layer {index}")
            if name in shapes:
                raise CostTableError(f"{path}: layer {index}: name must be new, not {name} again")
            shapes[name] = shape
    except ValidationError as error:
        raise CostTableError(f"{path}: shapes: {first_breach(error)}") from error
    return shapes


def _layer(layer: dict[str, Any], place: str) -> tuple[str, GemmShape]:
    form = _Gemm if "pixels" in layer else _Conv
    try:
        checked = form.model_validate(layer)
        return checked.name, checked.shape()
    except ValidationError as error:
        raise CostTableError(f"{place}: {first_breach(error)}") from error
    except ValueError as error:
        raise CostTableError(f"{place}: {error}") from error
