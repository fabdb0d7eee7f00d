"""Asks teachers about fixed augmented views of the training faces, and keeps their probabilities for a student.

    mien train mobilefacenet --set data.folds=2 --set data.held_out=0 --run runs/fold0
    mien train mobilefacenet --set data.folds=2 --set data.held_out=1 --run runs/fold1
    python tools/ask_teachers.py fer2013.tar.gz runs/fold0 runs/fold1 --augment mien/configs/small.toml --views 30 \
        -o views.safetensors
    mien train small --set data.views=views.safetensors --set data.teacher= --set training.epochs=300

Each teacher is asked about the faces that it was not trained on. The file is written after each view, and the same
command goes on from there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from mien import config as configs
from mien.data import load
from mien.models.torch_model import TorchModel
from mien.training.bfloat16 import has_bfloat16_instructions
from mien.training.views import TeacherViews, ask


def main() -> None:
    """Reads the command line, asks and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="FER2013 in any format that mien reads")
    parser.add_argument("teachers", type=Path, nargs="+", help="run folders of trainings with data.folds")
    parser.add_argument("--augment", type=Path, required=True, help="a config whose [augment] the views have")
    parser.add_argument("--views", type=int, default=30, help="views of each face (default 30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 takes all cores")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    faces = load(arguments.data, None).split("training")
    known = TeacherViews.load(arguments.output, faces) if arguments.output.exists() else None
    config = configs.load(arguments.augment).augment
    if known and (known.augment, known.seed) != (config, arguments.seed):
        parser.error(f"{arguments.output} holds views of another augmentation or seed")
    started = time.perf_counter()

    def write(views: TeacherViews) -> None:
        views.save(arguments.output)
        print(f"view {len(views)} of {arguments.views}, {time.perf_counter() - started:.0f} s", flush=True)

    networks = [TorchModel.load(folder) for folder in arguments.teachers]
    for network in networks:
        network.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16_instructions()):  # three times as fast together
        ask(networks, faces, config, arguments.seed, arguments.views, known, write)


if __name__ == "__main__":
    main()
