"""Run exported files: by ONNX Runtime, or by qonnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from quant.errors import QuantError
from quant.formats.dialect import LOGITS
from quant.formats.quant_nodes import DOMAIN

Images = NDArray[np.uint8]
"""Pixels [N, H, W, C], as our integer networks take them."""


def logits(path: Path, images: Images) -> NDArray[Any]:
    """Return what an exported file gives for images.

    Parameters
    ----------
    path : Path
        A file that `python -m quant.export` wrote in format onnx or qonnx.
    images : uint8 [N, H, W, C]

    Returns
    -------
    int32 or float32 [N, classes]
        Integers, or real numbers of the QDQ form.
    """
    model = onnx.load(path)
    domains = {entry.domain for entry in model.opset_import}
    return run(model, images, outputs=(LOGITS,), by_qonnx=DOMAIN in domains)[LOGITS]


def run(
    model: onnx.ModelProto, images: Images, *, outputs: tuple[str, ...], by_qonnx: bool
) -> dict[str, NDArray[Any]]:
    """Return some tensors of a model, [N, C, H, W] or [N, classes]."""
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if by_qonnx:
        return _by_qonnx(model, pixels.astype(np.float32), outputs)
    return _by_runtime(model, pixels, outputs)


def _by_runtime(
    model: onnx.ModelProto, feed: NDArray[np.uint8], outputs: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # without it, products of uint8 and int8 saturate in 16 bits on x86 processors without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    known = {value.name for value in model.graph.output}
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    extended.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs if o not in known)
    try:
        session = onnxruntime.InferenceSession(
            extended.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions have no common class of their own
        reason = str(error).splitlines()[0]
        raise QuantError(
            f"ONNX Runtime {onnxruntime.__version__} must execute the file, but: {reason}; export "
            "with a lower --opset, or take a newer one"
        ) from error
    found = session.run(list(outputs), {model.graph.input[0].name: feed})
    return dict(zip(outputs, found, strict=True))


def _by_qonnx(
    model: onnx.ModelProto, feed: NDArray[np.float32], outputs: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    wrapped = ModelWrapper(_of_batch(model, len(feed))).transform(InferShapes())
    context = execute_onnx(wrapped, {model.graph.input[0].name: feed}, True)
    return {name: context[name] for name in outputs}


def _of_batch(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """Return a model of one image as one of several: qonnx wants every size to be told.

    It starts a session of ONNX Runtime for every node of every run, so runs should be few.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    constants = {tensor.name for tensor in graph.initializer}
    of_constants = {n.output[0] for n in graph.node if constants.issuperset(n.input)}
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.name not in of_constants:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return changed
