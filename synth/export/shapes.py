"""Layers of a network from a JSON file of shapes, such as ``python -m quant.shapes`` writes."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from hw.mapping import ConvShape
from hw.schedule import GemmShape
from synth.costs.check import first_breach
from synth.table import CostTableError


def _record(shape: type[Any]) -> type[BaseModel]:
    """Record of a layer in the file: its name and the fields of a shape, no others."""
    types = get_type_hints(shape)
    sizes: dict[str, Any] = {
        f.name: (types[f.name], ... if f.default is MISSING else f.default) for f in fields(shape)
    }
    return create_model(
        shape.__name__, __config__=ConfigDict(extra="forbid"), name=(str, ...), **sizes
    )


_GEMM, _CONV = _record(GemmShape), _record(ConvShape)
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
    form, shape = (_GEMM, GemmShape) if "pixels" in layer else (_CONV, _of_convolution)
    try:
        checked = form.model_validate(layer).model_dump()
        return checked.pop("name"), shape(**checked)
    except ValidationError as error:
        raise CostTableError(f"{place}: {first_breach(error)}") from error
    except ValueError as error:
        raise CostTableError(f"{place}: {error}") from error


def _of_convolution(**sizes: int) -> GemmShape:
    conv = ConvShape(**sizes)
    return GemmShape(
        pixels=conv.out_h * conv.out_w,
        depth=conv.taps * conv.in_channels // conv.groups,
        outputs=conv.out_channels // conv.groups,
        groups=conv.groups,
    )
