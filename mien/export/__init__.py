"""Trained networks as files for others: ONNX, 8-bit ONNX, and a folder with the browser page."""
