"""Labelled faces from whatever form a person has them in."""

from mien.data.dataset import FaceDataset
from mien.data.load import load

__all__ = ["FaceDataset", "load"]
