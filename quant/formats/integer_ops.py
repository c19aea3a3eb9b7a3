"""ONNX of integer operators: every tensor equals our integers, whatever executes it.

Sums are ConvInteger's, exact in 32 bits. Requantisation is in float64, where it is exact, too: a
sum has 32 bits, a multiplier 16, and a shift moves the point only (docs/numerics.md). A channel's
bias and factor take 8 bytes, as its record in the accelerator does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from quant.formats.dialect import Dialect, factors, per_channel, unfolded_bias, window
from quant.formats.storage import in_onnx_order, packed_tensor, stored
from sim.folder import Add, Average, Conv, LayerArrays, Maximum, TensorSpec

_OFFSET = 128
"""What weights are raised by, to be unsigned."""


class IntegerOps(Dialect):
    """Weights in INT2, INT4 or INT8, cast to INT8 and multiplied by ConvInteger.

    The input is uint8, the logits are int32 in units of the network's output.
    """

    image_type = TensorProto.UINT8
    logit_type = TensorProto.INT32

    def begin(self) -> None:
        """Write nothing: the image is integers."""

    def conv(self, step: Conv, layer: LayerArrays) -> None:
        """Write a layer: Cast, ConvInteger, bias, factor, rounding, bounds."""
        writer, source = self.writer, self.spec(step.input)
        storage = stored(step.weight_bits, self.opset)
        weight = writer.tensor(
            packed_tensor(f"{step.name}.weight", in_onnx_order(layer.weight), storage)
        )
        inputs = [step.input, self._unsigned(step.name, weight), self._zero_point(source)]
        inputs.append(writer.constant("weight_zero_point", np.asarray(_OFFSET, np.uint8)))
        sums = writer.node(
            "ConvInteger", inputs, f"{step.name}.sum", group=step.groups, **window(step)
        )
        bias = per_channel(unfolded_bias(step, layer, source.zero_point).astype(np.int32))
        inputs = [sums, writer.constant(f"{step.name}.bias", bias)]
        biased = writer.node("Add", inputs, f"{step.name}.biased")
        self._requantise(step, self._wide(biased), per_channel(factors(layer)))

    def add(self, step: Add) -> None:
        """Write a sum of two maps, each with its factor."""
        writer = self.writer
        terms = []
        for side, name, multiplier in (
            ("left", step.left, step.left_multiplier),
            ("right", step.right, step.right_multiplier),
        ):
            part = f"{step.name}.{side}"
            inputs = [self._centred(name, part), self._integer(multiplier)]
            terms.append(writer.node("Mul", inputs, f"{part}_scaled"))
        total = writer.node("Add", terms, f"{step.name}.sum")
        self._requantise(step, self._wide(total), np.asarray(np.ldexp(1.0, -step.shift)))

    def average(self, step: Average) -> None:
        """Write an average: the sums of windows, and their factor."""
        if self.covers(step):
            centred = self._centred(step.input, step.name)
            sums = self.pixel_sum(centred, f"{step.name}.sum")
        else:
            sums = self._window_sums(step)
        factor = np.asarray(np.ldexp(float(step.multiplier), -step.shift))
        self._requantise(step, self._wide(sums), factor)

    def _window_sums(self, step: Average) -> str:
        source = self.spec(step.input)
        ones = np.ones((source.channels, 1, step.kernel_h, step.kernel_w), np.uint8)
        weight = self.writer.constant(f"{step.name}.ones", ones)
        inputs = [step.input, weight, self._zero_point(source)]
        return self.writer.node(
            "ConvInteger", inputs, f"{step.name}.sum", group=source.channels, **window(step)
        )

    def maximum(self, step: Maximum) -> None:
        """Write a maximum pooling of integers."""
        self.writer.node("MaxPool", [step.input], step.output, **window(step))

    def _centred(self, name: str, reader: str) -> str:
        """Take the zero point off a map, int32."""
        wide = self.writer.node("Cast", [name], f"{reader}.input32", to=TensorProto.INT32)
        zero_point = self._integer(self.spec(name).zero_point)
        return self.writer.node("Sub", [wide, zero_point], f"{reader}.centred")

    def _integer(self, value: int) -> str:
        return self.writer.constant(f"int32.{value}", np.asarray(value, np.int32))

    def _zero_point(self, spec: TensorSpec) -> str:
        value = np.asarray(spec.zero_point, np.uint8)
        return self.writer.constant(f"zero_point.{spec.zero_point}", value)

    def _unsigned(self, name: str, weight: str) -> str:
        """Raise weights to uint8, which a runtime does once, when it loads the file.

        Products of unsigned operands are exact everywhere; those of uint8 and int8 saturate in 16
        bits in ONNX Runtime's kernels for x86 processors without VNNI.
        """
        writer = self.writer
        wide = writer.node("Cast", [weight], f"{name}.weight32", to=TensorProto.INT32)
        raised = writer.node("Add", [wide, self._integer(_OFFSET)], f"{name}.weight_raised")
        return writer.node("Cast", [raised], f"{name}.weight8", to=TensorProto.UINT8)

    def _wide(self, name: str) -> str:
        return self.writer.node("Cast", [name], f"{name}64", to=TensorProto.DOUBLE)

    def _requantise(
        self, step: Conv | Add | Average, sums: str, factor: NDArray[np.float64]
    ) -> None:
        """Bring float64 sums to integers of the output: halves go up."""
        writer, target, name = self.writer, self.spec(step.output), step.name
        # 16 bits and a power of two: exact in float32, too, which takes half the space
        narrow = writer.constant(f"{name}.factor", factor.astype(np.float32))
        scaled = writer.node("Mul", [sums, self._wide(narrow)], f"{name}.scaled")
        raised = writer.node(
            "Add", [scaled, self._number(target.zero_point + 0.5)], f"{name}.raised"
        )
        rounded = writer.node("Floor", [raised], f"{name}.rounded")
        bounds = [self._number(value) for value in (step.low, step.high)]
        clipped = writer.node("Clip", [rounded, *bounds], f"{name}.clipped")
        kind = TensorProto.INT32 if target.signed else TensorProto.UINT8
        writer.node("Cast", [clipped], step.output, to=kind)

    def _number(self, value: float) -> str:
        return self.writer.constant(f"float64.{value}", np.asarray(value, np.float64))
