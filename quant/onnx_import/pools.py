"""Poolings, over windows and over whole maps."""

from __future__ import annotations

from torch import fx, nn

from quant.onnx_import.builder import Builder
from quant.onnx_import.document import Node
from quant.onnx_import.windows import Window


def average(node: Node, builder: Builder) -> fx.Node:
    """Build AveragePool."""
    window = Window.of(node)
    counted = bool(node.attribute("count_include_pad", 0))
    if window.dilation != (1, 1):
        node.refuse(f"dilations must be 1, not {window.dilation}")
    if window.before != window.after and not counted:
        node.refuse("padding must be the same on both sides, or counted (count_include_pad)")
    source, padding = window.padded(node, builder)
    pool = nn.AvgPool2d(
        window.kernel,
        window.stride,
        padding=padding,
        ceil_mode=bool(node.attribute("ceil_mode", 0)),
        count_include_pad=counted,
    )
    return builder.module(node, pool, source)


def maximum(node: Node, builder: Builder) -> fx.Node:
    """Build MaxPool, without its indices."""
    window = Window.of(node)
    if len([name for name in node.proto.output if name]) > 1:
        node.refuse("indices must not be asked for")
    source, padding = window.padded(node, builder, value=-float("inf"))
    pool = nn.MaxPool2d(
        window.kernel,
        window.stride,
        padding=padding,
        dilation=window.dilation,
        ceil_mode=bool(node.attribute("ceil_mode", 0)),
    )
    return builder.module(node, pool, source)


def whole_average(node: Node, builder: Builder) -> fx.Node:
    """Build GlobalAveragePool."""
    return builder.module(node, nn.AdaptiveAvgPool2d(1), builder.value(node.inputs[0]))


def whole_maximum(node: Node, builder: Builder) -> fx.Node:
    """Build GlobalMaxPool."""
    return builder.module(node, nn.AdaptiveMaxPool2d(1), builder.value(node.inputs[0]))


def mean(node: Node, builder: Builder) -> fx.Node:
    """Build ReduceMean over the pixels of a map."""
    axes = node.constant(1, "axes") if node.has(1) else node.attribute("axes", ())
    rank = len(node.shape(node.inputs[0]))
    if rank != 4 or {int(axis) % rank for axis in axes} != {2, 3}:
        node.refuse("axes must be those of a map's rows and columns, 2 and 3")
    pooled = whole_average(node, builder)
    if node.attribute("keepdims", 1):
        return pooled
    return builder.module(node, nn.Flatten(), pooled)
