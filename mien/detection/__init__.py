"""Face detectors behind one contract, by name."""

DEFAULT_DETECTOR = "blazeface"
"""The name of the detector that is used unless another is chosen."""
