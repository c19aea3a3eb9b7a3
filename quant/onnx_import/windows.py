"""Windows that move over maps: convolutions and poolings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx, nn

from quant.onnx_import.builder import Builder
from quant.onnx_import.document import Node

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Window:
    """Sizes of a window, rows before columns.

    Parameters
    ----------
    kernel, stride, dilation : (int, int)
        As torch has them.
    before, after : (int, int)
        Padding above and left, below and right.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair
    after: Pair

    @classmethod
    def of(cls, node: Node, kernel: Pair | None = None) -> Window:
        """Read a node's window; `kernel` is that of its weight."""
        sizes = _pair(node, "kernel_shape", kernel or (1, 1))
        if kernel is not None and sizes != kernel:
            node.refuse(f"kernel_shape must be the weight's, {kernel}, not {sizes}")
        stride, dilation = _pair(node, "strides", (1, 1)), _pair(node, "dilations", (1, 1))
        pads = tuple(node.attribute("pads", (0, 0, 0, 0)))
        if len(pads) != 4 or min(pads) < 0:
            node.refuse(f"pads must be 4 numbers of at least 0, not {pads}")
        before, after = (pads[0], pads[1]), (pads[2], pads[3])
        rule = node.attribute("auto_pad", "NOTSET")
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            before, after = _same(node, sizes, stride, dilation, lower=rule == "SAME_LOWER")
        elif rule == "VALID":
            before = after = (0, 0)
        return cls(kernel=sizes, stride=stride, dilation=dilation, before=before, after=after)

    def padded(self, node: Node, builder: Builder, value: float = 0.0) -> tuple[fx.Node, Pair]:
        """Return the input, padded if torch's module cannot, and the padding left to that."""
        source = builder.value(node.inputs[0])
        if self.before == self.after:
            return source, self.before
        sides = (self.before[1], self.after[1], self.before[0], self.after[0])
        pad = nn.ZeroPad2d(sides) if value == 0 else nn.ConstantPad2d(sides, value)
        return builder.module(node, pad, source), (0, 0)


def _pair(node: Node, name: str, default: Pair) -> Pair:
    values = tuple(node.attribute(name, default))
    if len(values) != 2:
        node.refuse(f"{name} must have two numbers, as of maps, not {len(values)}")
    return values


def _same(
    node: Node, kernel: Pair, stride: Pair, dilation: Pair, *, lower: bool
) -> tuple[Pair, Pair]:
    """Return the padding after which as many outputs come as strides begin in the input."""
    sizes = node.shape(node.inputs[0])[2:]
    before, after = [], []
    for axis, size in enumerate(sizes):
        if size is None:
            node.refuse("auto_pad must come with an input of known size")
        outputs = -(-size // stride[axis])
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (outputs - 1) * stride[axis] + reach - size)
        small, large = total // 2, total - total // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return (before[0], before[1]), (after[0], after[1])
