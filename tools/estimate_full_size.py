"""What a training at full size would take on one GPU: memory and time, from counted numbers.

    python tools/estimate_full_size.py configs/full/*.toml

Nothing is trained. Activations are those that autograd keeps for the backward pass, counted on tensors without data
in 32 bit and halved for bfloat16. Time is that of the multiply-adds alone: networks of many small operations
(EfficientNet, DenseNet) need more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from mien import config as configs
from mien.networks import registry

GPU = "NVIDIA A100 40 GB"
FLOP_PER_S = 0.3 * 312e12
"""Three tenths of the GPU's 312 TFLOP/s in bfloat16."""
FACES = 28_709
BYTES_A_PARAMETER = 4 + 4 + 8 + 4 + 2
"""Weight, gradient, two moments of the optimiser, moving average, copy in bfloat16."""
GIB = 2**30


def main() -> None:
    """Prints each config's estimate, as its header has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", type=Path, nargs="+")
    for path in parser.parse_args().configs:
        print(f"{path.stem}: {memory_gib(configs.load(path)):.1f} GiB, {hours(configs.load(path)):.2g} h")


def hours(config: configs.Config) -> float:
    """Of all epochs: forward and backward are three times the forward pass's multiply-adds, two operations each."""
    spec = registry.find(config.network.name, config.network.variant)
    return 3 * 2 * spec.multiply_adds * FACES * config.training.epochs / FLOP_PER_S / 3600


def memory_gib(config: configs.Config) -> float:
    """Of one step at the config's batch size."""
    spec = registry.find(config.network.name, config.network.variant)
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, so that no other can take its place
        return tensor

    with torch.device("meta"):
        network = registry.create(spec).train()
        own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
        images = torch.empty(config.training.batch_size, spec.in_channels, spec.size, spec.size)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(images)
    activations = sum(storage.nbytes() for key, storage in kept.items() if key not in own) / 2
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return (activations + BYTES_A_PARAMETER * parameters) / GIB


if __name__ == "__main__":
    main()
