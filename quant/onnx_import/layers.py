"""Layers with weights: convolutions, dense layers, batch norms."""

from __future__ import annotations

import numpy as np
from torch import fx, nn

from quant.onnx_import.builder import Builder, parameter
from quant.onnx_import.document import Node
from quant.onnx_import.windows import Window


def convolution(node: Node, builder: Builder) -> fx.Node:
    """Build Conv."""
    weight = node.constant(1, "weight")
    if weight.ndim != 4:
        node.refuse(f"weight must have 4 dimensions, a convolution of maps, not {weight.ndim}")
    window = Window.of(node, kernel=(int(weight.shape[2]), int(weight.shape[3])))
    groups = node.attribute("group", 1)
    channels = node.shape(node.inputs[0])[1]
    if channels not in (None, weight.shape[1] * groups) or weight.shape[0] % groups:
        node.refuse(
            f"weight {list(weight.shape)} of {groups} groups must fit the input's {channels} "
            "channels"
        )
    source, padding = window.padded(node, builder)
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        window.kernel,
        stride=window.stride,
        padding=padding,
        dilation=window.dilation,
        groups=groups,
        bias=node.has(2),
    )
    layer.weight = parameter(weight)
    if node.has(2):
        layer.bias = parameter(node.constant(2, "bias"))
    return builder.module(node, layer, source, weight=node.inputs[1])


def gemm(node: Node, builder: Builder) -> fx.Node:
    """Build Gemm, alpha and beta in its weights."""
    if node.attribute("transA", 0):
        node.refuse("transA must be 0, not 1")
    weight = node.constant(1, "weight") * np.float32(node.attribute("alpha", 1.0))
    bias = None
    if node.has(2):
        bias = node.constant(2, "bias") * np.float32(node.attribute("beta", 1.0))
    return _dense(node, builder, weight if node.attribute("transB", 0) else weight.T, bias)


def matmul(node: Node, builder: Builder) -> fx.Node:
    """Build MatMul by a constant; an addition after it becomes its bias."""
    return _dense(node, builder, node.constant(1, "second factor").T, None)


def _dense(node: Node, builder: Builder, weight: np.ndarray, bias: np.ndarray | None) -> fx.Node:
    if weight.ndim != 2:
        node.refuse(f"weight must have 2 dimensions, not {weight.ndim}")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = parameter(weight)
    if bias is not None:
        layer.bias = parameter(np.broadcast_to(bias.reshape(-1), (len(weight),)))
    return builder.module(node, layer, builder.value(node.inputs[0]), weight=node.inputs[1])


def batch_norm(node: Node, builder: Builder) -> fx.Node:
    """Build BatchNormalization with its statistics."""
    if node.attribute("training_mode", 0):
        node.refuse("training_mode must be 0, not 1: export the network in evaluation mode")
    weight, bias, mean, var = (
        node.constant(index, what)
        for index, what in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "variance"))
    )
    kind = nn.BatchNorm2d if len(node.shape(node.inputs[0])) == 4 else nn.BatchNorm1d
    norm = kind(len(weight), eps=node.attribute("epsilon", 1e-5))
    norm.weight, norm.bias = parameter(weight), parameter(bias)
    norm.running_mean, norm.running_var = parameter(mean).data, parameter(var).data
    return builder.module(node, norm, builder.value(node.inputs[0]), weight=node.inputs[1])
