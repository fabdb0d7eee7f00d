"""Trained networks in any format: ONNX files, run folders, checkpoints and the models that ship with mien.

The architectures, as torch modules, are in `mien.networks`.
"""
