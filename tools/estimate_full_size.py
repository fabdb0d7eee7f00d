"""Estimates memory and time of the full-size trainings on one GPU from operation counts.

    python tools/estimate_full_size.py mien/configs/full/*.toml            # prints the estimates
    python tools/estimate_full_size.py mien/configs/full/*.toml --write    # also writes them into the configs' headers

Nothing is trained, and nothing is measured on a GPU.

The memory is that of one step: the tensors that autograd saves for the backward pass, counted at the config's batch
size on the meta device, in bfloat16 for bf16-mixed; and the weights, gradients, both moments of the optimizer, the
moving average and the bfloat16 copies. CUDA and cuDNN's workspaces need about 1 GiB more. Validation needs less: see
`Preprocessing.batch_size`.

The time is that of the multiply-adds, three times those of the forward pass, at RATE, plus that of moving each saved
activation MOVES times between the GPU and its memory. This gives 2,615 images/s for ResNet-50; NVIDIA publishes 2,470
for mixed precision on one A100 (github.com/NVIDIA/DeepLearningExamples, ResNet50 v1.5 for PyTorch). For all other
networks it is a guess: depthwise convolutions (EfficientNet) and many small operations (DenseNet) may take several
times as long. Validation adds about a tenth.
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
"""Operations per second: half of the GPU's peak in bfloat16."""
BANDWIDTH = 1.555e12
"""Bytes per second between the GPU and its memory."""
MOVES = 8
"""An activation is written once and read three times, by the next operation, the statistics of a norm and the backward
pass; the same holds for its gradient."""
FACES = 28_709
BYTES_PER_PARAMETER = 4 + 4 + 8 + 4 + 2
"""Weight, gradient, two moments of the optimizer, moving average and bfloat16 copy."""
GIB = 2**30


@dataclass(frozen=True)
class Estimate:
    """The estimate for one config.

    Attributes:
        memory_gib: Memory of one step.
        images_per_s: Throughput of the training.
        hours: Duration of all epochs.
    """

    memory_gib: float
    images_per_s: float
    hours: float

    def lines(self, config: configs.Config) -> tuple[str, str]:
        """The two lines of the config's header that state the estimate."""
        time = f"{self.hours:.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.0f} minutes"
        training = config.training
        return (
            f"# machine  one {GPU}; a step of {training.batch_size} faces takes an estimated {self.memory_gib:.1f} GiB",
            f"# time     an estimated {time} for {training.epochs} epochs, if it does not stop early "
            "(tools/estimate_full_size.py)",
        )


def main() -> None:
    """Prints the estimate of each config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="replace the two lines of each config's header")
    arguments = parser.parse_args()
    for path in arguments.configs:
        config = configs.load(path)
        estimated = estimate(config)
        memory, rate, hours = estimated.memory_gib, estimated.images_per_s, estimated.hours
        print(f"{path.stem}: {memory:.1f} GiB, {rate:,.0f} images/s, {hours:.2f} h")
        if arguments.write:
            text = path.read_text(encoding="utf-8")
            for line in estimated.lines(config):
                text = re.sub(rf"^{line[:9]}.*$", line, text, flags=re.MULTILINE)
            write_text(path, text)


def estimate(config: configs.Config) -> Estimate:
    """Estimates memory and time of a config's training."""
    spec = registry.find(config.network.name, config.network.variant)
    activations, parameters = count(config)
    arithmetic = 3 * 2 * spec.multiply_adds / RATE
    movement = MOVES * activations / config.training.batch_size / BANDWIDTH
    images_per_s = 1 / (arithmetic + movement)
    return Estimate(
        memory_gib=(activations + BYTES_PER_PARAMETER * parameters) / GIB,
        images_per_s=images_per_s,
        hours=config.training.epochs * FACES / images_per_s / 3600,
    )


def count(config: configs.Config) -> tuple[int, int]:
    """Counts the bytes that autograd saves in the forward pass of one batch, and the network's parameters."""
    spec = registry.find(config.network.name, config.network.variant)
    type_ = torch.float32 if config.training.precision == "32-true" else torch.bfloat16
    storages: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # a reference, so that no other storage gets its address
        return tensor

    with torch.device("meta"):
        network = registry.create(spec).to(type_).train()
        of_parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        images = torch.empty(config.training.batch_size, spec.in_channels, spec.size, spec.size, dtype=type_)
        with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
            outputs = network(images)
    activations = sum(storage.nbytes() for key, storage in storages.items() if key not in of_parameters)
    del outputs  # alive until here, as in a training step
    return activations, sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    main()
