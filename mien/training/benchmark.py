"""How fast a training step is, and how near it comes to what the machine can do."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mien.config import MAX_EPOCHS, Config
from mien.data.dataset import FaceDataset
from mien.training.batches import Batch
from mien.training.loop import Trainer

MATRIX_SIDE = 2048
"""Rows and columns of the matrix product that training is compared with."""


NUMBER_FORMATS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class TrainingSpeed:
    """What `measure` found; medians over the timed steps.

    Attributes:
        threads: CPU threads.
        precision: Of the config.
        images_per_s: With the data path: drawing, augmenting, stepping.
        bare_images_per_s: The network's step alone, on random tensors.
        data_ratio: The first over the second.
        plain_images_per_s: The bare step in 32 bit without torch.compile.
        gain: bare_images_per_s over plain_images_per_s.
        multiply_adds: Counted of forward and backward, an image.
        flops_per_s: Achieved by the bare step: two operations a multiply-add.
        matrix_flops_per_s: Of a large matrix product in the step's own number format, in the same run.
        matrix_flops_per_s_32_bit: The same in 32 bit.
        efficiency: flops_per_s over matrix_flops_per_s.
        efficiency_32_bit: flops_per_s over matrix_flops_per_s_32_bit.
    """

    threads: int
    precision: str
    images_per_s: float
    bare_images_per_s: float
    data_ratio: float
    plain_images_per_s: float
    gain: float
    multiply_adds: int
    flops_per_s: float
    matrix_flops_per_s: float
    matrix_flops_per_s_32_bit: float
    efficiency: float
    efficiency_32_bit: float

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def measure(config: Config, dataset: FaceDataset, steps: int = 30) -> TrainingSpeed:
    """Times training steps; nothing is written.

    Args:
        config: What would be trained.
        dataset: Its data.
        steps: Timed a figure, after three that are not.
    """
    trainer = _trainer(config, dataset)
    batches = _endless(trainer)
    batch = next(batches)
    noise = batch._replace(images=torch.rand_like(batch.images.contiguous()))
    with FlopCounterMode(display=False, custom_mapping=COUNTED_ANEW) as counter:
        trainer.train_step(noise)
    multiply_adds = counter.get_total_flops() // 2 // len(batch.targets)

    bare, whole = _times(
        [
            lambda: trainer.train_step(noise),
            lambda: trainer.train_step(next(batches)),
        ],
        steps,
    )
    plain_config = replace(config, training=replace(config.training, precision="32-true", compile=False))
    plain_trainer = _trainer(plain_config, dataset)
    (plain,) = _times([lambda: plain_trainer.train_step(noise)], steps)

    n = len(batch.targets)
    device = trainer.fabric.device
    matrix_32 = _matrix_flops_per_s(torch.float32, device)
    dtype = NUMBER_FORMATS[config.training.precision]
    matrix = matrix_32 if dtype is torch.float32 else _matrix_flops_per_s(dtype, device)
    flops_per_s = 2 * multiply_adds * n / bare
    return TrainingSpeed(
        threads=torch.get_num_threads(),
        precision=config.training.precision,
        images_per_s=n / whole,
        bare_images_per_s=n / bare,
        data_ratio=bare / whole,
        plain_images_per_s=n / plain,
        gain=plain / bare,
        multiply_adds=multiply_adds,
        flops_per_s=flops_per_s,
        matrix_flops_per_s=matrix,
        matrix_flops_per_s_32_bit=matrix_32,
        efficiency=flops_per_s / matrix,
        efficiency_32_bit=flops_per_s / matrix_32,
    )


def profile(config: Config, dataset: FaceDataset) -> str:
    """Where a bare step's time goes: torch's own table of operations, by their own time."""
    trainer = _trainer(config, dataset)
    batch = next(_endless(trainer))
    for _ in range(3):
        trainer.train_step(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            trainer.train_step(batch)
    table: str = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)
    return table


def table(speed: TrainingSpeed) -> Table:
    """What was measured, for the terminal."""
    result = Table("measure", "value", show_header=False)
    result.columns[1].justify = "right"
    rows = {
        f"training, {speed.precision}, {speed.threads} threads": f"{speed.images_per_s:,.0f} images/s",
        "the network's step alone, random tensors": f"{speed.bare_images_per_s:,.0f} images/s",
        "share of the bare step's pace": f"{speed.data_ratio:.3f}",
        "plain eager step, 32 bit": f"{speed.plain_images_per_s:,.0f} images/s",
        "gain over the plain step": f"{speed.gain:.2f}",
        "multiply-adds of forward and backward": f"{speed.multiply_adds / 1e6:,.1f} M an image",
        "achieved": f"{speed.flops_per_s / 1e9:,.0f} GFLOP/s",
        "matrix product, same number format": f"{speed.matrix_flops_per_s / 1e9:,.0f} GFLOP/s",
        "share of it": f"{speed.efficiency:.2f}",
        "matrix product, 32 bit": f"{speed.matrix_flops_per_s_32_bit / 1e9:,.0f} GFLOP/s",
        "share of it ": f"{speed.efficiency_32_bit:.2f}",
    }
    for name, value in rows.items():
        result.add_row(name, value)
    return result


def _trainer(config: Config, dataset: FaceDataset) -> Trainer:
    # Of little data or few epochs the learning rate's schedule would be over before the timing is.
    config = replace(config, training=replace(config.training, epochs=MAX_EPOCHS))
    return Trainer.of_steps(config, dataset)


def _endless(trainer: Trainer) -> Iterator[Batch]:
    while True:
        yield from trainer.batches.epoch(0, 0, trainer.fabric.device)


def _times(actions: list[Callable[[], Any]], steps: int) -> list[float]:
    """Median seconds of each action. They take turns, so that a change of the machine's pace meets all alike."""
    for action in actions:
        for _ in range(3):
            action()
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(steps):
        for action, seen in zip(actions, times, strict=True):
            started = time.perf_counter()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seen.append(time.perf_counter() - started)
    return [statistics.median(seen) for seen in times]


def _convolution_backward_flops(
    grad_shape: Sequence[int], x_shape: Sequence[int], weight_shape: Sequence[int], *rest: Any, out_shape: Any
) -> int:
    """As many products as forward for the gradient by the input, and as many for that by the weights.

    torch's own count takes the latter as if every channel met every other, whatever the groups.
    """
    *_bias_to_dilation, transposed, _output_padding, _groups, asked_for = rest
    places = x_shape if transposed else grad_shape
    products = places[0] * math.prod(places[2:]) * math.prod(weight_shape)
    return 2 * products * int(sum(asked_for[:2]))


COUNTED_ANEW = {torch.ops.aten.convolution_backward: _convolution_backward_flops}


def _matrix_flops_per_s(dtype: torch.dtype, device: torch.device) -> float:
    a, b = (torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype) for _ in range(2))

    def product() -> Tensor:
        return a @ b

    (seconds,) = _times([product], 10)
    return 2 * MATRIX_SIDE**3 / seconds
