"""How an integer network becomes an ONNX graph: one method a kind of step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from quant.formats.writer import Batch, GraphWriter
from sim.folder import Add, Average, Conv, IntegerNetwork, LayerArrays, Maximum, TensorSpec

FREE_BATCH = "batch"
LOGITS = "classes"
"""Output of every graph, [N, classes]."""


class Dialect(ABC):
    """A way of writing an integer network in ONNX.

    Tensors of the graph keep the names of the network's, so that each can be compared.

    Parameters
    ----------
    network : IntegerNetwork
        What is written.
    opset : int
        Version of ONNX's operators.
    batch : int or str
        Images of a run, or the name of a free size.
    """

    image_type: ClassVar[int]
    """Of the input [N, C, H, W]."""
    logit_type: ClassVar[int]
    """Of the output."""

    def __init__(self, network: IntegerNetwork, *, opset: int, batch: Batch = FREE_BATCH) -> None:
        self.network, self.opset, self.batch = network, opset, batch
        self.graph = network.graph
        self.writer = GraphWriter()

    @abstractmethod
    def conv(self, step: Conv, layer: LayerArrays) -> None:
        """Write a convolution or dense layer."""

    @abstractmethod
    def add(self, step: Add) -> None:
        """Write a residual sum."""

    @abstractmethod
    def average(self, step: Average) -> None:
        """Write an average pooling."""

    @abstractmethod
    def maximum(self, step: Maximum) -> None:
        """Write a maximum pooling."""

    @abstractmethod
    def begin(self) -> None:
        """Write what comes before the first step."""

    @property
    def domains(self) -> dict[str, int]:
        """Versions of the operators that are used, by domain."""
        return {"": self.opset}

    def model(self) -> onnx.ModelProto:
        """Return the network as ONNX: uint8 or float images [N, C, H, W] to logits [N, classes]."""
        self.begin()
        for step in self.graph.steps:
            if isinstance(step, Conv):
                self.conv(step, self.network.layers[step.name])
            elif isinstance(step, Add):
                self.add(step)
            elif isinstance(step, Average):
                self.average(step)
            else:
                self.maximum(step)
        self.writer.node("Flatten", [self.graph.output], LOGITS, axis=1)
        image, logits = self.spec(self.graph.input), self.spec(self.graph.output)
        classes = logits.channels * logits.height * logits.width
        return self.writer.model(
            self.graph.name,
            [helper.make_tensor_value_info(self.graph.input, self.image_type, self.shape(image))],
            [helper.make_tensor_value_info(LOGITS, self.logit_type, [self.batch, classes])],
            opsets=self.domains,
            notes={
                "arrays_sha256": self.graph.arrays_sha256,
                "logit_scale": repr(logits.scale),
            },
        )

    def covers(self, step: Average) -> bool:
        """Whether one window is the whole map, so that a sum over pixels does."""
        source = self.spec(step.input)
        whole = (step.kernel_h, step.kernel_w) == (source.height, source.width)
        return whole and not any(window(step)["pads"])

    def pixel_sum(self, source: str, output: str) -> str:
        """Write the sum of a map's pixels, [N, C, 1, 1]."""
        axes = self.writer.constant("pixel_axes", np.asarray([2, 3], np.int64))
        return self.writer.node("ReduceSum", [source, axes], output, keepdims=1)

    def spec(self, name: str) -> TensorSpec:
        """Return what is known of a tensor."""
        return self.graph.tensors[name]

    def shape(self, spec: TensorSpec) -> list[Batch]:
        """Return the shape of a map here, [N, C, H, W]."""
        return [self.batch, spec.channels, spec.height, spec.width]


def window(step: Conv | Average | Maximum) -> dict[str, Any]:
    """Attributes of a convolution or pooling."""
    return {
        "kernel_shape": [step.kernel_h, step.kernel_w],
        "strides": [step.stride, step.stride],
        "pads": [step.pad_top, step.pad_left, step.pad_bottom, step.pad_right],
    }


def per_channel(values: NDArray[Any]) -> NDArray[Any]:
    """Turn [M] to [1, M, 1, 1]."""
    return values.reshape(1, -1, 1, 1)


def unfolded_bias(step: Conv, layer: LayerArrays, zero_point: int) -> NDArray[np.int64]:
    """Bias for inputs from which the zero point has been taken, int64 [M]."""
    sums: NDArray[np.int64] = layer.weight.astype(np.int64).sum(axis=(0, 1, 2))
    return layer.bias.astype(np.int64) + zero_point * sums


def factors(layer: LayerArrays) -> NDArray[np.float64]:
    """Factors of the requantisation, exact in float64 (16 bits and a power of two), [M]."""
    return np.ldexp(layer.multiplier.astype(np.float64), -layer.shift.astype(np.int64))
