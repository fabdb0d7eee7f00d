"""Trained networks in any form: ONNX files, run folders, checkpoints and the models that ship with mien."""
