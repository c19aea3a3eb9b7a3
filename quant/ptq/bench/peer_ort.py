"""ONNX Runtime's static quantiser: run by `quant.ptq.bench.networks` where it is installed.

QDQ format, weights per channel and symmetric, activations unsigned of 8 bit, ranges by min-max. It
offers weights of 8 and 4 bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quant.ptq.bench.peers import Task, main

OPSET = 21
"""The first with integers of 4 bit."""


class Session(nn.Module):
    """An ONNX file, run by ONNX Runtime on one thread.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        self.place = nn.Parameter(torch.zeros(()))  # tells `quant.evaluate` where images go
        options = onnxruntime.SessionOptions()
        # as the graph says: fused kernels of 8 bit saturate on processors without VNNI
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float [N, C, H, W], to logits, float [N, classes]."""
        name = self.session.get_inputs()[0].name
        return torch.from_numpy(self.session.run(None, {name: x.contiguous().numpy()})[0])


def quantise(task: Task, bits: int) -> tuple[nn.Module, str]:
    """Return ONNX Runtime's network."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batches: Iterator[Tensor]) -> None:
            self.batches = batches

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        torch.onnx.export(
            task.network,
            (task.images[:2].contiguous(),),
            str(plain),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
        quantize_static(
            plain,
            quantised,
            Reader(task.batches()),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type={8: QuantType.QInt8, 4: QuantType.QInt4}[bits],
            calibrate_method=CalibrationMethod.MinMax,
        )
        return Session(quantised), "QDQ, QUInt8 activations, min-max, per channel"


if __name__ == "__main__":
    main(("onnxruntime", "onnx"), quantise)
