"""An exported network in 8-bit integers: half the size, and faster where the processor multiplies bytes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from mien.calibration import calibrate
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, WeightsError
from mien.evaluation.predict import predict
from mien.export.onnx import check_onnx_suffix
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.models.zoo import find_model

FACES = 512
"""Training faces whose activations set the integers' ranges."""
PERCENTILE = 99.999
"""Of an activation's values, those within its integers' range. Of the whole range, this and 99.99 it gave the answers
nearest to the original's (Kullback-Leibler divergence on PublicTest, results/LOG.md)."""
_BATCH = 64


def quantize(model: str, path: Path, dataset: FaceDataset, faces: int = FACES, seed: int = 0) -> OnnxModel:
    """Writes an exported network with weights and activations in 8 bits (ONNX Runtime's static quantization).

    Batch norms are folded into the convolutions; weights have a scale for each channel, activations one for each map,
    set by the values that training faces cause there. Weights keep to 7 of the 8 bits: processors without VNNI add two
    products of bytes in 16 bits, where those of 8 overflow and give other answers. It is calibrated again on
    PublicTest, since its confidence is not quite that of the original.

    Args:
        model: A shipped model's name, or the path of an .onnx file of `mien export`.
        path: The file to write, whole or not at all.
        dataset: With a training and a public split.
        faces: Training faces to take. All maps of all of them are in memory at once: 0.4 GB for 512 faces of `tiny`.
        seed: Of their draw.

    Returns:
        The written file, opened.

    Raises:
        WeightsError: There is no such model, or it is quantized already.
        ConfigError: The file's name does not end in .onnx, or fewer than one face is asked for.
        DataError: The data has other classes, or lacks a split.
    """
    check_onnx_suffix(path)
    if faces < 1:
        raise ConfigError(f"one training face or more is needed to quantize, got {faces}")
    classifier = OnnxModel(model)
    if "quantized" in classifier.metadata:
        raise WeightsError(f"{model} is quantized already: quantize the file that it was made from")
    training, public = dataset.split("training"), dataset.split("public")
    rows = np.sort(np.random.default_rng(seed).permutation(len(training))[:faces])
    images = classifier.preprocessing(training.images[rows])
    metadata = {key: value for key, value in classifier.metadata.items() if key not in ("metrics", "calibration")}
    metadata |= {"weights": f"{classifier.digest}-int8", "quantized": {"faces": len(rows), "seed": seed}}
    with tempfile.TemporaryDirectory() as folder, replaced(path) as part:
        whole, integers = Path(folder) / "whole.onnx", Path(folder) / "integers.onnx"
        _fold(find_model(model), whole)
        logging.getLogger().addFilter(_no_advice)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints how its histograms come on
                quantize_static(
                    whole,
                    integers,
                    _Batches(images),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.Percentile,
                    extra_options={"CalibPercentile": PERCENTILE},
                )
        finally:
            logging.getLogger().removeFilter(_no_advice)
        onnx_file.replace_metadata(integers, part, {METADATA_KEY: json.dumps(metadata)})
        calibration = calibrate(predict(OnnxModel(part), public))
        onnx_file.replace_metadata(
            integers, part, {METADATA_KEY: json.dumps(metadata | {"calibration": calibration.to_dict()})}
        )
    return OnnxModel(path)


def _fold(source: Path, path: Path) -> None:
    """Writes a network with all constants in single precision and batch norms within convolutions."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Network inputs, a batch at a time, as the quantizer asks for them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        # The quantizer cannot take a last batch of another size.
        batch = next(size for size in range(min(_BATCH, len(images)), 0, -1) if len(images) % size == 0)
        self._batches: Iterator[dict[str, Any]] = (
            {"images": images[start : start + batch]} for start in range(0, len(images), batch)
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _no_advice(record: logging.LogRecord) -> bool:
    """Keeps the quantizer's advice to preprocess from the person: it is done, by `_fold`."""
    return "pre-processing" not in record.getMessage()
