"""An integer network in formats of others: ONNX for ONNX Runtime, QONNX for qonnx."""
