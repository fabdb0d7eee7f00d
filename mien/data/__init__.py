"""Reads labelled faces in any known format."""

from mien.data.classes import LabelOptions
from mien.data.dataset import FaceDataset
from mien.data.load import load, load_configured

__all__ = ["FaceDataset", "LabelOptions", "load", "load_configured"]
