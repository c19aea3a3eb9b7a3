"""Operators that move values: shapes, paddings, concatenations."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import fx, nn

from quant.onnx_import.builder import Builder
from quant.onnx_import.document import Node, Shape


def same(node: Node, builder: Builder) -> fx.Node:
    """Build what does nothing outside of training."""
    return builder.value(node.inputs[0])


def reshape(node: Node, builder: Builder) -> fx.Node:
    """Build Reshape, Flatten, Squeeze and Unsqueeze by the shape that they give an image."""
    source = builder.value(node.inputs[0])
    before, after = (_of_image(node, name) for name in (node.inputs[0], node.output))
    if prod(before) != prod(after):
        node.refuse(f"images must stay apart, but {list(before)} becomes {list(after)} of each")
    if len(after) == 1:
        return builder.module(node, nn.Flatten(), source)
    return builder.call(torch.reshape, source, (-1, *after))


def _of_image(node: Node, name: str) -> tuple[int, ...]:
    """Sizes of a tensor without the first, the images."""
    shape: Shape = node.shape(name)
    sizes = tuple(size for size in shape[1:] if size is not None)
    if not shape or len(sizes) != len(shape) - 1:
        node.refuse(f"shape of {name} must be known but for the number of images")
    return sizes


def permute(node: Node, builder: Builder) -> fx.Node:
    """Build Transpose that leaves the images where they are."""
    rank = len(node.shape(node.inputs[0]))
    order = tuple(node.attribute("perm", tuple(reversed(range(rank)))))
    if order[0] != 0:
        node.refuse(f"perm must leave the images first, not {list(order)}")
    return builder.call(torch.permute, builder.value(node.inputs[0]), order)


def concatenate(node: Node, builder: Builder) -> fx.Node:
    """Build Concat."""
    if any(node.is_constant(index) for index in range(len(node.inputs))):
        node.refuse("inputs must be activations, not constants")
    rank = len(node.shape(node.output))
    axis = node.attribute("axis", 1) % rank
    if axis == 0:
        node.refuse("axis must not be that of the images")
    return builder.call(torch.cat, [builder.value(name) for name in node.inputs], dim=axis)


def pad(node: Node, builder: Builder) -> fx.Node:
    """Build Pad around maps."""
    if node.attribute("mode", "constant") != "constant":
        node.refuse(f"mode must be constant, not {node.attribute('mode', '')}")
    if node.has(3):
        node.refuse("axes must be left out")
    given = node.constant(1, "pads") if node.has(1) else node.attribute("pads", ())
    sides = [int(side) for side in np.asarray(given)]
    value = float(node.constant(2, "value")) if node.has(2) else node.attribute("value", 0.0)
    if len(sides) != 8 or any(sides[index] for index in (0, 1, 4, 5)) or min(sides) < 0:
        node.refuse(f"pads must be of rows and columns, and at least 0, not {sides}")
    source = builder.value(node.inputs[0])
    if not any(sides):
        return source
    around = (sides[3], sides[7], sides[2], sides[6])
    module = nn.ZeroPad2d(around) if value == 0 else nn.ConstantPad2d(around, value)
    return builder.module(node, module, source)
