"""What a training at full size would take on one GPU: memory and time, from counted numbers.

    python tools/estimate_full_size.py configs/full/*.toml            # prints
    python tools/estimate_full_size.py configs/full/*.toml --write    # and puts it into the configs' headers

Nothing is trained, and nothing is measured on a GPU.

Memory is that of one step: what autograd keeps for the backward pass, counted at the config's batch size on tensors
without data, in bfloat16 where the config has bf16-mixed; and weights, gradients, both moments of the optimiser, the
moving average and the copies in bfloat16. CUDA itself and cuDNN's workspaces take about 1 GiB more. Validation needs
less: `Preprocessing.batch_size`.

Time is that of the multiply-adds, three times the forward pass's, at RATE, and of carrying each kept activation MOVES
times between the GPU and its memory. These values give ResNet-50 2,615 images/s, where NVIDIA publishes 2,470 for mixed
precision on one A100 (github.com/NVIDIA/DeepLearningExamples, ResNet50 v1.5 for PyTorch). For all others it is a guess:
depthwise convolutions (EfficientNet) and many small operations (DenseNet) may take several times as long. Validation
adds about a tenth.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from mien import config as configs
from mien.files import write_text
from mien.networks import registry

GPU = "NVIDIA A100 40 GB"
RATE = 0.5 * 312e12
"""Operations a second: half of the GPU's peak in bfloat16."""
BANDWIDTH = 1.555e12
"""Bytes a second between the GPU and its memory."""
MOVES = 8
"""Written once and read three times, by the next operation, by a norm's statistics and by the backward pass; and so is
its gradient."""
FACES = 28_709
BYTES_A_PARAMETER = 4 + 4 + 8 + 4 + 2
"""Weight, gradient, two moments of the optimiser, moving average, copy in bfloat16."""
GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """Of one config.

    Attributes:
        memory_gib: Of one step.
        images_per_s: Trained on.
        hours: Of all epochs.
    """

    memory_gib: float
    images_per_s: float
    hours: float

    def lines(self, config: configs.Config) -> tuple[str, str]:
        """The two lines of the config's header that it stands behind."""
        time = f"{self.hours:.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.0f} minutes"
        training = config.training
        return (
            f"# machine  one {GPU}; a step of {training.batch_size} faces takes an estimated {self.memory_gib:.1f} GiB",
            f"# time     an estimated {time} for {training.epochs} epochs, if it does not stop early "
            "(tools/estimate_full_size.py)",
        )


def main() -> None:
    """Prints each config's estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="replace the two lines of each config's header")
    arguments = parser.parse_args()
    for path in arguments.configs:
        config = configs.load(path)
        found = estimate(config)
        print(f"{path.stem}: {found.memory_gib:.1f} GiB, {found.images_per_s:,.0f} images/s, {found.hours:.2f} h")
        if arguments.write:
            text = path.read_text(encoding="utf-8")
            for line in found.lines(config):
                text = re.sub(rf"^{line[:9]}.*$", line, text, flags=re.MULTILINE)
            write_text(path, text)


def estimate(config: configs.Config) -> Estimate:
    """Memory and time of a config's training."""
    spec = registry.find(config.network.name, config.network.variant)
    activations, parameters = kept(config)
    arithmetic = 3 * 2 * spec.multiply_adds / RATE
    movement = MOVES * activations / config.training.batch_size / BANDWIDTH
    images_per_s = 1 / (arithmetic + movement)
    return Estimate(
        memory_gib=(activations + BYTES_A_PARAMETER * parameters) / GIB,
        images_per_s=images_per_s,
        hours=config.training.epochs * FACES / images_per_s / 3600,
    )


def kept(config: configs.Config) -> tuple[int, int]:
    """Bytes that autograd keeps of one batch's forward pass, and the network's parameters."""
    spec = registry.find(config.network.name, config.network.variant)
    type_ = torch.float32 if config.training.precision == "32-true" else torch.bfloat16
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # held, so that no other can take its place
        return tensor

    with torch.device("meta"):
        network = registry.create(spec).to(type_).train()
        own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        images = torch.empty(config.training.batch_size, spec.in_channels, spec.size, spec.size, dtype=type_)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = network(images)
    activations = sum(storage.nbytes() for key, storage in storages.items() if key not in own)
    del outputs  # held until here, as training holds it
    return activations, sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    main()
