"""ONNX of quantise and dequantise nodes: the form that compilers for other hardware take.

Values between the nodes are real numbers, so what rounds them is the executing float arithmetic:
an integer can differ from ours by one where the exact value lies next to a half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from quant.formats.dialect import Dialect, factors, unfolded_bias, window
from quant.formats.storage import Storage, in_onnx_order, packed_tensor, stored
from sim.folder import Add, Average, Conv, LayerArrays, Maximum, TensorSpec


class QuantiseDequantise(Dialect):
    """Weights in INT2, INT4 or INT8 behind DequantizeLinear, activations between both nodes.

    The input is uint8, the logits are real numbers.
    """

    image_type = TensorProto.UINT8
    logit_type = TensorProto.FLOAT

    def begin(self) -> None:
        """Write nothing: the image is integers."""

    def conv(self, step: Conv, layer: LayerArrays) -> None:
        """Write a layer: both operands dequantised, Conv, and quantise what is not the logits."""
        writer, target = self.writer, self.spec(step.output)
        scale = self._weight_scale(step, layer)
        storage = stored(step.weight_bits, self.opset)
        integers = writer.tensor(
            packed_tensor(f"{step.name}.weight", in_onnx_order(layer.weight), storage)
        )
        if storage is Storage.INT2:
            # ONNX Runtime 1.31 fuses the pattern into QLinearConv, which has no kernel for INT2
            integers = writer.node("Cast", [integers], f"{step.name}.weight8", to=TensorProto.INT8)
        scales = writer.constant(f"{step.name}.weight_scale", scale)
        zeros = np.zeros(len(scale), np.int8)
        wide = Storage.INT8 if storage is Storage.INT2 else storage
        zero_points = writer.tensor(packed_tensor(f"{step.name}.weight_zero_point", zeros, wide))
        weight = writer.node(
            "DequantizeLinear", [integers, scales, zero_points], f"{step.name}.weight_real", axis=0
        )
        inputs = [self._real(step.input, step.name), weight, self._bias(step, layer, scale)]
        real = step.output if target.signed else f"{step.name}.real"
        writer.node("Conv", inputs, real, group=step.groups, **window(step))
        if not target.signed:
            self._bounded(step, real, target)

    def add(self, step: Add) -> None:
        """Write a sum of real numbers."""
        terms = [self._real(step.left, f"{step.name}.left")]
        terms.append(self._real(step.right, f"{step.name}.right"))
        total = self.writer.node("Add", terms, f"{step.name}.real")
        self._bounded(step, total, self.spec(step.output))

    def average(self, step: Average) -> None:
        """Write an average of real numbers."""
        real = self.writer.node(
            "AveragePool",
            [self._real(step.input, step.name)],
            f"{step.name}.real",
            count_include_pad=1,
            **window(step),
        )
        self._bounded(step, real, self.spec(step.output))

    def maximum(self, step: Maximum) -> None:
        """Write a maximum of real numbers."""
        real = self._real(step.input, step.name)
        real = self.writer.node("MaxPool", [real], f"{step.name}.real", **window(step))
        self._quantise(real, step.output, self.spec(step.output))

    def _weight_scale(self, step: Conv, layer: LayerArrays) -> NDArray[np.float32]:
        """Scales that make s_in * s_w / s_out the factor of the requantisation, float32 [M]."""
        ratio = self.spec(step.output).scale / self.spec(step.input).scale
        scale: NDArray[np.float32] = (factors(layer) * ratio).astype(np.float32)
        return scale

    def _bias(self, step: Conv, layer: LayerArrays, scale: NDArray[np.float32]) -> str:
        source = self.spec(step.input)
        bias = unfolded_bias(step, layer, source.zero_point).astype(np.int32)
        integers = self.writer.constant(f"{step.name}.bias", bias)
        scales = self.writer.constant(f"{step.name}.bias_scale", np.float32(source.scale) * scale)
        return self.writer.node(
            "DequantizeLinear", [integers, scales], f"{step.name}.bias_real", axis=0
        )

    def _bounded(self, step: Conv | Add | Average, real: str, target: TensorSpec) -> None:
        """Quantise, and clip before it where the bounds are narrower than the type's."""
        if (step.low, step.high) != (0, 255):
            bounds = [
                self.writer.constant(
                    f"{step.name}.{kind}",
                    np.asarray((value - target.zero_point) * target.scale, np.float32),
                )
                for kind, value in (("low", step.low), ("high", step.high))
            ]
            real = self.writer.node("Clip", [real, *bounds], f"{step.name}.clipped")
        self._quantise(real, step.output, target)

    def _parameters(self, spec: TensorSpec) -> list[str]:
        scale = np.asarray(spec.scale, np.float32)
        zero_point = np.asarray(spec.zero_point, np.uint8)
        return [
            self.writer.constant(f"scale.{spec.scale!r}", scale),
            self.writer.constant(f"zero_point.{spec.zero_point}", zero_point),
        ]

    def _quantise(self, real: str, output: str, spec: TensorSpec) -> None:
        self.writer.node("QuantizeLinear", [real, *self._parameters(spec)], output)

    def _real(self, name: str, reader: str) -> str:
        """Dequantise a map; a node for each reader, as compilers want it."""
        parameters = self._parameters(self.spec(name))
        return self.writer.node("DequantizeLinear", [name, *parameters], f"{reader}.input_real")
