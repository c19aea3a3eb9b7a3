"""A network of an ONNX file: ``--model FILE.onnx``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import fx, nn

from quant.errors import QuantError
from quant.onnx_import import layers, moves, pointwise, pools
from quant.onnx_import.builder import Builder
from quant.onnx_import.document import Document, Node, read

Build = Callable[[Node, Builder], fx.Node]


@dataclass(frozen=True)
class _Operator:
    """How an operator is built, and which of its inputs are tensors of activations.

    Parameters
    ----------
    build : callable
    reads : int, optional
        The first so many inputs; all that are not constant by default.
    """

    build: Build
    reads: int | None = None


OPERATORS: Mapping[str, _Operator] = {
    "Conv": _Operator(layers.convolution, 1),
    "Gemm": _Operator(layers.gemm, 1),
    "MatMul": _Operator(layers.matmul, 1),
    "BatchNormalization": _Operator(layers.batch_norm, 1),
    "Relu": _Operator(pointwise.activation(nn.ReLU)),
    "Clip": _Operator(pointwise.clip, 1),
    "LeakyRelu": _Operator(pointwise.leaky_relu),
    "Sigmoid": _Operator(pointwise.activation(nn.Sigmoid)),
    "Tanh": _Operator(pointwise.activation(nn.Tanh)),
    "HardSigmoid": _Operator(pointwise.hard_sigmoid),
    "HardSwish": _Operator(pointwise.activation(nn.Hardswish)),
    "Add": _Operator(pointwise.arithmetic),
    "Sub": _Operator(pointwise.arithmetic),
    "Mul": _Operator(pointwise.arithmetic),
    "Div": _Operator(pointwise.arithmetic),
    "Softmax": _Operator(pointwise.softmax),
    "LogSoftmax": _Operator(pointwise.softmax),
    "AveragePool": _Operator(pools.average),
    "MaxPool": _Operator(pools.maximum),
    "GlobalAveragePool": _Operator(pools.whole_average),
    "GlobalMaxPool": _Operator(pools.whole_maximum),
    "ReduceMean": _Operator(pools.mean, 1),
    "Flatten": _Operator(moves.reshape),
    "Reshape": _Operator(moves.reshape, 1),
    "Squeeze": _Operator(moves.reshape, 1),
    "Unsqueeze": _Operator(moves.reshape, 1),
    "Transpose": _Operator(moves.permute),
    "Concat": _Operator(moves.concatenate),
    "Pad": _Operator(moves.pad, 1),
    "Identity": _Operator(moves.same),
    "Dropout": _Operator(moves.same, 1),
}
"""What can be imported, by the name of the operator."""


def load_onnx(path: Path) -> tuple[nn.Module, dict[str, str]]:
    """Return the network of an ONNX file, in evaluation mode, and what is known of the file.

    Layers are torch's own, so that they can be quantised and trained; a softmax at the end is left
    out.

    Raises
    ------
    QuantError
        If the file cannot be read, or something in it has no counterpart: one line that names the
        operator and the node.
    """
    document = read(path)
    builder = Builder(document)
    for proto in _needed(document):
        node = Node(proto, document)
        builder.set(node.output, OPERATORS[node.kind].build(node, builder))
    if document.output not in document.shapes:
        raise QuantError(f"{path}: output must depend on the input, not be constant")
    about = {"producer": document.producer, "opset": str(document.opset)}
    return builder.finish(document.output).eval(), about


def _needed(document: Document) -> list[onnx.NodeProto]:
    """Return the nodes whose values the output depends on, checked to be known operators."""
    wanted, needed = {document.output}, list[onnx.NodeProto]()
    for proto in reversed(document.nodes):
        if not wanted.intersection(proto.output):
            continue
        node = Node(proto, document)
        known = OPERATORS.get(node.kind) if proto.domain in ("", "ai.onnx") else None
        if known is None:
            node.refuse(
                "must be an operator that can be imported; take it out of the network, or give "
                "that as module:factory"
            )
        wanted.update(n for n in node.inputs[: known.reads] if n not in document.constants)
        needed.append(proto)
    return needed[::-1]
