"""QONNX: Quant nodes that say the bits of every weight and activation, for qonnx, FINN, hls4ml.

Tensors are floats that hold integers, zero points taken off, so that convolutions are exact in
float32 (a layer whose sums are not is refused). Requantisation goes through float64, as in
`quant.formats.integer_ops`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from quant.errors import QuantError
from quant.formats.dialect import Dialect, factors, per_channel, unfolded_bias, window
from quant.formats.storage import in_onnx_order
from sim.folder import Add, Average, Conv, LayerArrays, Maximum, TensorSpec

DOMAIN = "qonnx.custom_op.general"
OPSET = 13
"""Of ONNX's operators; qonnx's own tools are written for it."""
_EXACT_IN_FLOAT32 = 1 << 24


class QuantNodes(Dialect):
    """Every weight and activation behind a Quant node of scale 1.

    The input is float pixels from 0 to 255, the logits are float integers.
    """

    image_type = TensorProto.FLOAT
    logit_type = TensorProto.FLOAT

    @property
    def domains(self) -> dict[str, int]:
        """Versions of the operators that are used, by domain."""
        return {"": self.opset, DOMAIN: 1}

    def begin(self) -> None:
        """Say that the image is integers."""
        name = source = self.graph.input
        spec = self.spec(name)
        if spec.zero_point:
            zero_point = self.writer.constant("image_zero_point", np.asarray(spec.zero_point, "f4"))
            source = self.writer.node("Sub", [name, zero_point], f"{name}.centred")
        self._quant(source, f"{name}.quantised", spec)

    def conv(self, step: Conv, layer: LayerArrays) -> None:
        """Write a layer: Quant of its weights, Conv, requantisation."""
        writer, source = self.writer, self.spec(step.input)
        bias = unfolded_bias(step, layer, source.zero_point)
        self._check(step.name, layer.weight, source)
        values = in_onnx_order(layer.weight).astype(np.float32)
        real = writer.constant(f"{step.name}.weight", values)
        integer = f"{step.name}.weight_quantised"
        self._node(real, integer, values.shape, bits=step.weight_bits, signed=True)
        sums = writer.node(
            "Conv", [self._act(step.input), integer], f"{step.name}.sum", group=step.groups,
            **window(step),
        )  # fmt: skip
        self._requantise(step, sums, per_channel(bias), per_channel(factors(layer)))

    def add(self, step: Add) -> None:
        """Write a sum of two maps, each with its factor."""
        writer = self.writer
        terms = []
        for side, name, multiplier in (
            ("left", step.left, step.left_multiplier),
            ("right", step.right, step.right_multiplier),
        ):
            source = self._act(name)
            term = writer.node("Cast", [source], f"{step.name}.{side}64", to=TensorProto.DOUBLE)
            constant = writer.constant(
                f"{step.name}.{side}_multiplier", np.asarray(multiplier, np.float64)
            )
            terms.append(writer.node("Mul", [term, constant], f"{step.name}.{side}_scaled"))
        total = writer.node("Add", terms, f"{step.name}.sum")
        factor = np.asarray(np.ldexp(1.0, -step.shift))
        self._requantise(step, total, None, factor, is_double=True)

    def average(self, step: Average) -> None:
        """Write an average: the sums of windows, and their factor."""
        source = self.spec(step.input)
        ones = np.ones((source.channels, 1, step.kernel_h, step.kernel_w), np.float32)
        self._check(step.name, ones.transpose(2, 3, 1, 0), source)
        if self.covers(step):
            sums = self.pixel_sum(self._act(step.input), f"{step.name}.sum")
        else:
            inputs = [self._act(step.input), self.writer.constant(f"{step.name}.ones", ones)]
            sums = self.writer.node(
                "Conv", inputs, f"{step.name}.sum", group=source.channels, **window(step)
            )
        factor = np.asarray(np.ldexp(float(step.multiplier), -step.shift))
        self._requantise(step, sums, None, factor)

    def maximum(self, step: Maximum) -> None:
        """Write a maximum pooling."""
        self.writer.node("MaxPool", [self._act(step.input)], step.output, **window(step))

    def _act(self, name: str) -> str:
        return f"{name}.quantised" if name == self.graph.input else name

    def _check(self, name: str, weight: NDArray[Any], source: TensorSpec) -> None:
        most = max(source.high - source.zero_point, source.zero_point)
        largest = int(np.abs(weight.astype(np.int64)).sum(axis=(0, 1, 2)).max()) * most
        if largest >= _EXACT_IN_FLOAT32:
            raise QuantError(
                f"{name}: sums must be below 2^24 to be exact in QONNX's float32, but reach "
                f"{largest}; export with --format onnx"
            )

    def _requantise(
        self,
        step: Conv | Add | Average,
        sums: str,
        bias: NDArray[np.int64] | None,
        factor: NDArray[np.float64],
        *,
        is_double: bool = False,
    ) -> None:
        """Bring sums to integers of the output, less its zero point: halves go up."""
        writer, target, name = self.writer, self.spec(step.output), step.name

        def constant(kind: str, value: Any) -> str:
            return writer.constant(f"{name}.{kind}", np.asarray(value, np.float64))

        if not is_double:
            sums = writer.node("Cast", [sums], f"{name}.sum64", to=TensorProto.DOUBLE)
        if bias is not None:
            sums = writer.node("Add", [sums, constant("bias", bias)], f"{name}.biased")
        value = writer.node("Mul", [sums, constant("factor", factor)], f"{name}.scaled")
        if (step.low, step.high) != (target.low, target.high):
            bounds = [
                constant("low", step.low - target.zero_point),
                constant("high", step.high - target.zero_point),
            ]
            value = writer.node("Clip", [value, *bounds], f"{name}.clipped")
        # Quant has no rounding that brings negative halves up, but it has the next lower integer
        raised = writer.node("Add", [value, constant("half", 0.5)], f"{name}.raised")
        self._quant(raised, step.output, target)

    def _quant(self, source: str, output: str, spec: TensorSpec) -> None:
        self._node(
            source,
            output,
            self.shape(spec),
            bits=spec.bits,
            signed=spec.signed,
            zero_point=spec.zero_point,
        )

    def _node(
        self, source: str, output: str, shape: Any, *, bits: int, signed: bool, zero_point: int = 0
    ) -> None:
        writer = self.writer
        inputs = [
            source,
            writer.constant("unit_scale", np.asarray(1, np.float32)),
            writer.constant(f"zero_point.{zero_point}", np.asarray(zero_point, np.float32)),
            writer.constant(f"bits.{bits}", np.asarray(bits, np.float32)),
        ]
        writer.node(
            "Quant",
            inputs,
            output,
            domain=DOMAIN,
            signed=int(signed),
            narrow=0,
            rounding_mode="FLOOR",
        )
        writer.known(output, TensorProto.FLOAT, shape)
