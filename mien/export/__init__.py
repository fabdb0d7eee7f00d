"""Trained networks as files for other runtimes: ONNX, 8 bits, calibrated copies."""
