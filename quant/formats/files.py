"""The files of an export to ONNX or QONNX, and the JSON that says what is in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from hw.files import write_bytes, write_json
from quant.errors import QuantError
from quant.formats.integer_ops import IntegerOps
from quant.formats.qdq import QuantiseDequantise
from quant.formats.quant_nodes import OPSET, QuantNodes
from quant.formats.storage import needed_opset
from sim.folder import IntegerNetwork

OPSETS = range(13, 26)
"""Versions of ONNX's operators that can be written: per-channel scales came with 13."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A file of an export.

    Parameters
    ----------
    name : str
        Of the file.
    text : str
        What it is.
    is_exact : bool
        Whether every integer equals the network's.
    write : callable
        Gives the model of a network, for an operator set.
    """

    name: str
    text: str
    is_exact: bool
    write: Callable[[IntegerNetwork, int], onnx.ModelProto]


ONNX = (
    Form(
        name="network-exact.onnx",
        text="integer operators: every tensor equals the integer network's",
        is_exact=True,
        write=lambda network, opset: IntegerOps(network, opset=opset).model(),
    ),
    Form(
        name="network-qdq.onnx",
        text="QuantizeLinear and DequantizeLinear: for compilers; integers may differ by rounding",
        is_exact=False,
        write=lambda network, opset: QuantiseDequantise(network, opset=opset).model(),
    ),
)
QONNX = (
    Form(
        name="network-qonnx.onnx",
        text="Quant nodes of QONNX: every tensor equals the integer network's",
        is_exact=True,
        write=lambda network, opset: QuantNodes(network, opset=opset, batch=1).model(),
    ),
)
RECORD_NAMES = {ONNX: "export-onnx.json", QONNX: "export-qonnx.json"}
"""One for each format, as both may be in one folder."""


def export(
    network: IntegerNetwork, forms: tuple[Form, ...], out: Path, *, opset: int | None = None
) -> dict[str, Any]:
    """Write the files of an export and their record; returns the record.

    Parameters
    ----------
    network : IntegerNetwork
        What is exported.
    forms : tuple of Form
        `ONNX` or `QONNX`.
    out : Path
        Folder, made if it is not there.
    opset : int, optional
        Version of ONNX's operators; by default the lowest that has the types of all weights.

    Raises
    ------
    QuantError
        If there is no such operator set, or the network has no such form.
    """
    if opset is not None and opset not in OPSETS:
        raise QuantError(f"opset must be from {OPSETS[0]} to {OPSETS[-1]}, not {opset}")
    used = opset or (OPSET if forms is QONNX else needed_opset(network))
    models = {form: form.write(network, used) for form in forms}
    files = []
    for form, model in models.items():
        content = model.SerializeToString()
        write_bytes(out / form.name, content)
        files.append(
            {
                "file": form.name,
                "form": form.text,
                "exact": form.is_exact,
                "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
                "file_bytes": len(content),
                "initialiser_bytes": sum(len(t.raw_data) for t in model.graph.initializer),
                "layers": _layers(network, model),
            }
        )
    record = {
        "network": network.graph.name,
        "arrays_sha256": network.graph.arrays_sha256,
        "packed_bytes": sum(network.packed_bytes.values()),
        "files": files,
    }
    write_json(out / RECORD_NAMES[forms], record, indent=1)
    return record


def _layers(network: IntegerNetwork, model: onnx.ModelProto) -> dict[str, dict[str, Any]]:
    """Bits of every layer's weights, the type that holds them, and bytes of both."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = {}
    for step in network.graph.convs:
        tensor = tensors[f"{step.name}.weight"]
        layers[step.name] = {
            "weight_bits": step.weight_bits,
            "stored_as": onnx.TensorProto.DataType.Name(tensor.data_type),
            "packed_bytes": -(-network.layers[step.name].weight.size * step.weight_bits // 8),
            "initialiser_bytes": len(tensor.raw_data),
        }
    return layers
