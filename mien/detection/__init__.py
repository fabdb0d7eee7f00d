"""Face detectors behind one contract, by name."""

DEFAULT_DETECTOR = "yunet"
"""The name of the detector that is used unless another is chosen."""
