"""Operators that work on every value by itself: activations and arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from quant.onnx_import.builder import Builder, parameter
from quant.onnx_import.document import Node

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
}


def activation(make: Callable[[], nn.Module]) -> Callable[[Node, Builder], fx.Node]:
    """Return a builder of a module without parameters."""

    def build(node: Node, builder: Builder) -> fx.Node:
        return builder.module(node, make(), builder.value(node.inputs[0]))

    return build


def leaky_relu(node: Node, builder: Builder) -> fx.Node:
    """Build LeakyRelu."""
    module = nn.LeakyReLU(node.attribute("alpha", 0.01))
    return builder.module(node, module, builder.value(node.inputs[0]))


def hard_sigmoid(node: Node, builder: Builder) -> fx.Node:
    """Build HardSigmoid with torch's slope."""
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    if not np.allclose((alpha, beta), (1 / 6, 0.5), atol=1e-4):
        node.refuse(f"alpha and beta must be 1/6 and 0.5, not {alpha:g} and {beta:g}")
    return builder.module(node, nn.Hardsigmoid(), builder.value(node.inputs[0]))


def clip(node: Node, builder: Builder) -> fx.Node:
    """Build Clip; from 0 to 6, or with no upper end, it is a ReLU."""
    low = float(node.constant(1, "min")) if node.has(1) else node.attribute("min", -np.inf)
    high = float(node.constant(2, "max")) if node.has(2) else node.attribute("max", np.inf)
    module: nn.Module
    if (low, high) == (0, 6):
        module = nn.ReLU6()
    elif low == 0 and high >= float(np.finfo(np.float32).max):
        module = nn.ReLU()
    else:
        module = nn.Hardtanh(low, high)
    return builder.module(node, module, builder.value(node.inputs[0]))


def softmax(node: Node, builder: Builder) -> fx.Node:
    """Build Softmax and LogSoftmax; at the end of a network neither: searches want logits."""
    source = builder.value(node.inputs[0])
    if node.output == node.document.output:
        return source
    rank = len(node.shape(node.inputs[0]))
    axis = node.attribute("axis", -1 if node.document.opset >= 13 else 1) % rank
    if node.document.opset < 13 and axis != rank - 1:
        node.refuse("axis must be the last: before opset 13 it stood for all after it, too")
    kind = nn.Softmax if node.kind == "Softmax" else nn.LogSoftmax
    return builder.module(node, kind(dim=axis), source)


def arithmetic(node: Node, builder: Builder) -> fx.Node:
    """Build Add, Sub, Mul and Div, of two maps or of a map and a constant."""
    constants = [index for index in (0, 1) if node.is_constant(index)]
    if constants and node.kind == "Add":
        index = constants[0]
        if _is_bias(node, builder, node.inputs[1 - index], node.constant(index, "constant")):
            return builder.value(node.inputs[1 - index])
    terms = [
        builder.buffer(node, node.constant(index, "constant"))
        if index in constants
        else builder.value(node.inputs[index])
        for index in (0, 1)
    ]
    return builder.call(_ARITHMETIC[node.kind], *terms)


def _is_bias(node: Node, builder: Builder, source: str, value: NDArray[Any]) -> bool:
    """Make a constant the bias of the layer before, if it is one number a channel."""
    layer = builder.layer_without_bias(source)
    if layer is None:
        return False
    outputs = layer.weight.shape[0]
    trailing = (1, 1) if isinstance(layer, nn.Conv2d) else ()
    shape = (1,) * (2 + len(trailing) - value.ndim) + value.shape
    if shape != (1, outputs, *trailing):
        return False
    layer.bias = parameter(value.reshape(-1))
    return True
