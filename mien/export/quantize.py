"""Quantizes an exported network to 8-bit integers: half the size, and faster on CPUs with 8-bit instructions."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from mien.calibration import fit_calibration
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, WeightsError
from mien.evaluation.predict import predict
from mien.export.onnx import check_onnx_suffix
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel

FACES = 512
"""Default number of training faces whose activations determine the ranges of the integers."""
PERCENTILE = 99.999
"""Percentage of the activations that lie within the range of the integers.

Among this value, 99.99 and the whole range, it gave the predictions closest to those of the original (Kullback-Leibler
divergence on PublicTest, results/LOG.md).
"""
_MAX_BATCH_SIZE = 64


def quantize(model: str, path: Path, dataset: FaceDataset, faces: int = FACES, seed: int = 0) -> OnnxModel:
    """Writes a copy of an exported network with 8-bit weights and activations (ONNX Runtime's static quantization).

    Batch norms are folded into the convolutions. Weights have a scale per channel and activations one per map, chosen
    from the activations of training faces. Weights use 7 of the 8 bits: CPUs without VNNI add two 8-bit products in 16
    bits, which would overflow with all 8. The copy is calibrated on the public split, since its confidence differs
    slightly from that of the original.

    Args:
        model: The name of a shipped model, or the path of an .onnx file written by `mien export`.
        path: The file to write; an existing file is replaced only once the new one is complete.
        dataset: Faces with a training and a public split.
        faces: Number of training faces to use. The activations of all of them are in memory at once, for `tiny` 0.4 GB
            at 512 faces.
        seed: Seed of their random choice.

    Returns:
        The written model.

    Raises:
        WeightsError: There is no such model, or it is already quantized.
        ConfigError: The file name does not end in .onnx, or `faces` is below 1.
        DataError: The data set has other classes than the model, or lacks a split.
    """
    check_onnx_suffix(path)
    if faces < 1:
        raise ConfigError(f"quantizing needs 1 training face or more, got {faces}")
    source = OnnxModel(model)
    if "quantized" in source.metadata:
        raise WeightsError(f"{model} is already quantized: quantize the file that it was made from")
    training, public = dataset.split("training"), dataset.split("public")
    rows = np.sort(np.random.default_rng(seed).permutation(len(training))[:faces])
    images = source.preprocessing(training.images[rows])
    metadata = {key: value for key, value in source.metadata.items() if key not in ("metrics", "calibration")}
    metadata |= {"weights": f"{source.digest}-int8", "quantized": {"faces": len(rows), "seed": seed}}
    with tempfile.TemporaryDirectory() as folder, replaced(path) as part:
        folded, quantized = Path(folder) / "folded.onnx", Path(folder) / "quantized.onnx"
        fold_batch_norms(source.path, folded)
        quantize_file(folded, quantized, _Batches(images))
        onnx_file.replace_metadata(quantized, part, {METADATA_KEY: json.dumps(metadata)})
        metadata["calibration"] = fit_calibration(predict(OnnxModel(part), public)).to_dict()
        onnx_file.replace_metadata(quantized, part, {METADATA_KEY: json.dumps(metadata)})
    return OnnxModel(path)


def fold_batch_norms(source: Path, path: Path) -> None:
    """Writes a copy of a network with batch norms folded into convolutions and constants in single precision."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def quantize_file(
    source: Path, path: Path, inputs: CalibrationDataReader, single_precision: Sequence[str] = ()
) -> None:
    """Quantizes an ONNX file with ONNX Runtime.

    Args:
        source: The file, with its batch norms folded.
        path: The file to write.
        inputs: Network inputs that determine the ranges of the activations.
        single_precision: Names of the operators that are not quantized.
    """
    logging.getLogger().addFilter(_is_not_preprocessing_advice)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the progress of its histograms
            quantize_static(
                source,
                path,
                inputs,
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile,
                nodes_to_exclude=list(single_precision),
                extra_options={"CalibPercentile": PERCENTILE},
            )
    finally:
        logging.getLogger().removeFilter(_is_not_preprocessing_advice)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Yields network inputs in batches of equal size, as ONNX Runtime's quantizer requires."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        sizes = range(min(_MAX_BATCH_SIZE, len(images)), 0, -1)
        batch_size = next(size for size in sizes if len(images) % size == 0)
        self._batches: Iterator[dict[str, Any]] = (
            {"images": images[start : start + batch_size]} for start in range(0, len(images), batch_size)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _is_not_preprocessing_advice(record: logging.LogRecord) -> bool:
    """Drops the quantizer's advice to preprocess the model, which `fold_batch_norms` already did."""
    return "pre-processing" not in record.getMessage()
