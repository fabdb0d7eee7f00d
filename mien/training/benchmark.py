"""The speed of a training step, also relative to what the machine can do."""

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
WARM_UP_STEPS = 3
NUMBER_FORMATS = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class TrainingSpeed:
    """Medians over the timed steps.

    Attributes:
        threads: CPU threads.
        precision: The config's precision.
        images_per_s: Of complete steps, with loading and augmentation.
        bare_images_per_s: Of the network's step alone, on random tensors.
        data_ratio: images_per_s / bare_images_per_s.
        plain_images_per_s: Of the bare step in 32 bit without torch.compile.
        gain: bare_images_per_s / plain_images_per_s.
        multiply_adds: Of forward and backward pass, per image.
        flops_per_s: Of the bare step; two operations per multiply-add.
        matrix_flops_per_s: Of a large matrix product in the number format of the step.
        matrix_flops_per_s_32_bit: Of the same product in 32 bit.
        efficiency: flops_per_s / matrix_flops_per_s.
        efficiency_32_bit: flops_per_s / matrix_flops_per_s_32_bit.
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
        """Returns the fields by name."""
        return asdict(self)


def measure(config: Config, dataset: FaceDataset, steps: int = 30) -> TrainingSpeed:
    """Times training steps and writes nothing.

    Args:
        config: The training's config.
        dataset: The training's data.
        steps: Number of timed steps per figure, after WARM_UP_STEPS more.
    """
    trainer = _trainer(config, dataset)
    batches = _repeated_batches(trainer)
    batch = next(batches)
    noise = batch._replace(images=torch.rand_like(batch.images.contiguous()))
    with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter:
        trainer.train_step(noise)
    multiply_adds = counter.get_total_flops() // 2 // len(batch.targets)

    bare, complete = _median_seconds(
        [lambda: trainer.train_step(noise), lambda: trainer.train_step(next(batches))], steps
    )
    plain_config = replace(config, training=replace(config.training, precision="32-true", compile=False))
    plain_trainer = _trainer(plain_config, dataset)
    (plain,) = _median_seconds([lambda: plain_trainer.train_step(noise)], steps)

    n = len(batch.targets)
    device = trainer.fabric.device
    matrix_32 = _matrix_flops_per_s(torch.float32, device)
    dtype = NUMBER_FORMATS[config.training.precision]
    matrix = matrix_32 if dtype is torch.float32 else _matrix_flops_per_s(dtype, device)
    flops_per_s = 2 * multiply_adds * n / bare
    return TrainingSpeed(
        threads=torch.get_num_threads(),
        precision=config.training.precision,
        images_per_s=n / complete,
        bare_images_per_s=n / bare,
        data_ratio=bare / complete,
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
    """Returns torch's table of the operations of bare steps, the slowest first."""
    trainer = _trainer(config, dataset)
    batch = next(_repeated_batches(trainer))
    for _ in range(WARM_UP_STEPS):
        trainer.train_step(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            trainer.train_step(batch)
    table: str = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40)
    return table


def table(speed: TrainingSpeed) -> Table:
    """Returns the measurements as a table for the terminal."""
    result = Table("measure", "value", show_header=False)
    result.columns[1].justify = "right"
    rows = [
        (f"complete step, {speed.precision}, {speed.threads} threads", f"{speed.images_per_s:,.0f} images/s"),
        ("bare step, random tensors", f"{speed.bare_images_per_s:,.0f} images/s"),
        ("complete / bare", f"{speed.data_ratio:.3f}"),
        ("bare step, eager, 32 bit", f"{speed.plain_images_per_s:,.0f} images/s"),
        ("speed-up over eager 32 bit", f"{speed.gain:.2f}"),
        ("multiply-adds of forward and backward", f"{speed.multiply_adds / 1e6:,.1f} M per image"),
        ("bare step", f"{speed.flops_per_s / 1e9:,.0f} GFLOP/s"),
        ("matrix product, same number format", f"{speed.matrix_flops_per_s / 1e9:,.0f} GFLOP/s"),
        ("bare step / matrix product", f"{speed.efficiency:.2f}"),
        ("matrix product, 32 bit", f"{speed.matrix_flops_per_s_32_bit / 1e9:,.0f} GFLOP/s"),
        ("bare step / matrix product, 32 bit", f"{speed.efficiency_32_bit:.2f}"),
    ]
    for row in rows:
        result.add_row(*row)
    return result


def _trainer(config: Config, dataset: FaceDataset) -> Trainer:
    # With little data or few epochs, the learning-rate schedule would end before the timing does.
    config = replace(config, training=replace(config.training, epochs=MAX_EPOCHS))
    return Trainer.for_single_steps(config, dataset)


def _repeated_batches(trainer: Trainer) -> Iterator[Batch]:
    while True:
        yield from trainer.batches.epoch(0, 0, trainer.fabric.device)


def _median_seconds(actions: list[Callable[[], Any]], steps: int) -> list[float]:
    """Returns the median duration of each action. They take turns, so that changes in the machine's load affect all."""
    for action in actions:
        for _ in range(WARM_UP_STEPS):
            action()
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(steps):
        for action, seconds in zip(actions, times, strict=True):
            started = time.perf_counter()
            action()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in times]


def _convolution_backward_flops(
    grad_shape: Sequence[int], x_shape: Sequence[int], weight_shape: Sequence[int], *rest: Any, out_shape: Any
) -> int:
    """Counts the operations of a convolution's backward pass.

    The gradient of the input and that of the weight need as many products as the forward pass. torch's own formula
    ignores the groups when it counts the latter.
    """
    *_bias_to_dilation, transposed, _output_padding, _groups, needs_gradient = rest
    positions = x_shape if transposed else grad_shape
    products = positions[0] * math.prod(positions[2:]) * math.prod(weight_shape)
    return 2 * products * int(sum(needs_gradient[:2]))


FLOP_FORMULAS = {torch.ops.aten.convolution_backward: _convolution_backward_flops}


def _matrix_flops_per_s(dtype: torch.dtype, device: torch.device) -> float:
    a, b = (torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype) for _ in range(2))

    def product() -> Tensor:
        return a @ b

    (seconds,) = _median_seconds([product], 10)
    return 2 * MATRIX_SIDE**3 / seconds
