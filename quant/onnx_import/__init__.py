"""ONNX files as networks: read, then built of torch's own modules."""
