"""Training: setup, fit, train_epoch, validate, and one state that is saved and resumed whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mien import config as configs
from mien.calibration import calibrate
from mien.config import Config, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, TrainingError, WeightsError, error_text
from mien.interrupt import Interrupt
from mien.models import checkpoint
from mien.models.build import build_network
from mien.models.checkpoint import BEST, LAST
from mien.models.torch_model import compute_logits
from mien.training.allocator import keep_freed_memory
from mien.training.batches import Batch, Batches, digest_of, seed_for
from mien.training.bfloat16 import FastDepthwiseGradients, InSinglePrecision, is_depthwise, multiplies_bfloat16
from mien.training.distill import Teachers, taught
from mien.training.log import Log
from mien.training.losses import LossParts, balanced_weights, total_loss
from mien.types import Predictions

CONFIG = "config.toml"


@dataclass
class Meters:
    """Sums over an epoch's images, so that a mean divides once."""

    images: int = 0
    correct: int = 0
    total: float = 0.0
    cross_entropy: float = 0.0
    reconstruction: float = 0.0
    margin: float = 0.0
    distillation: float = 0.0
    seconds: float = 0.0

    def add(self, parts: LossParts, logits: Tensor, targets: Tensor, seconds: float) -> None:
        """Counts one batch."""
        n = len(targets)
        self.images += n
        self.correct += int((logits.argmax(dim=1) == targets).sum())
        for name in ("total", "cross_entropy", "reconstruction", "margin", "distillation"):
            setattr(self, name, getattr(self, name) + getattr(parts, name).item() * n)
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """A row for the log."""
        n = max(self.images, 1)
        return {
            "train_loss": self.total / n,
            "train_cross_entropy": self.cross_entropy / n,
            "train_reconstruction": self.reconstruction / n,
            "train_margin": self.margin / n,
            "train_distillation": self.distillation / n,
            "train_accuracy": self.correct / n,
            "images_per_s": self.images / max(self.seconds, 1e-9),
            "train_s": self.seconds,
        }


class Trainer:
    """One training run in one folder.

    Args:
        config: What to do.
        dataset: Faces with a training and a public split.
        folder: Where config, checkpoints and logs go.
        log: Told of each step and epoch.
    """

    def __init__(self, config: Config, dataset: FaceDataset, folder: Path, log: Log) -> None:
        training = config.training
        keep_freed_memory()
        if training.threads:
            torch.set_num_threads(training.threads)
        self.config, self.folder, self.log = config, folder, log
        self.fabric = _fabric(training)
        torch.manual_seed(training.seed)
        self.network, self.preprocessing = build_network(config, len(dataset.classes))
        self.network.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(self.network, multi_avg_fn=_moving_average(training.ema_decay), use_buffers=True)
        self.optimizer = _optimizer(self.network, training)
        faces = dataset.split("training")
        self.batches = Batches(
            faces,
            self.preprocessing,
            training.batch_size,
            config.loss,
            config.augment,
            self._teacher(faces) if config.loss.distillation else None,
            training.seed,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        if len(self.batches) == 0:
            raise ConfigError(
                f"training.batch_size is {training.batch_size} and the training split has "
                f"{len(self.batches.images)} faces: choose at most that"
            )
        if len(present := self.batches.targets.bincount().nonzero()) == 1:
            raise DataError(
                f"the training split must hold faces of 2 classes or more, got {dataset.classes[int(present)]} alone"
            )
        self.public = dataset.split("public")
        self.data_digest = digest_of(self.public, self.batches.digest.encode())
        self.scheduler = _scheduler(self.optimizer, training, len(self.batches))
        self.class_weights = None
        if config.loss.class_weights == "balanced":
            self.class_weights = balanced_weights(self.batches.targets, len(dataset.classes)).to(self.fabric.device)
        compiled = cast(nn.Module, torch.compile(self.network)) if training.compile else self.network
        self.stepped, self.stepper = self.fabric.setup(compiled, self.optimizer)
        self.products = _products(training, self.network, self.fabric.device)
        self.epoch = self.step = 0
        self.meters = Meters()
        self.best_accuracy, self.best_epoch = -1.0, 0

    @classmethod
    def of_steps(cls, config: Config, dataset: FaceDataset) -> Trainer:
        """One whose single steps are wanted: the network is in training mode, nothing is shown or written."""
        trainer = cls(config, dataset, Path(), Log(Path(), config.training.epochs, Console(quiet=True)))
        trainer.network.train()
        return trainer

    def _teacher(self, faces: FaceDataset) -> Tensor | Teachers:
        data, temperature = self.config.data, self.config.loss.temperature
        if data.teachers:
            return Teachers(data.teachers, faces.classes, temperature, self.fabric.device)
        return taught(Path(data.teacher), faces, temperature)

    def fit(self, interrupt: Interrupt) -> bool:
        """Trains to the last epoch or until interrupted; saves after every epoch and at the interruption.

        Returns:
            Whether training is done and no stop was asked for: whoever has more to do must not begin it then.
        """
        training = self.config.training
        while not self._done():
            self.train_epoch(interrupt)
            if self.step < len(self.batches):
                self.save()
                return False
            predictions = self.validate()
            logits, targets = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.targets)
            loss = float(nn.functional.cross_entropy(logits, targets))
            accuracy = float(predictions.correct.mean())
            improved = accuracy > self.best_accuracy
            if improved:
                self.best_accuracy, self.best_epoch = accuracy, self.epoch + 1
            row = {"epoch": self.epoch + 1, "learning_rate": self.optimizer.param_groups[0]["lr"]}
            row |= self.meters.means() | {"public_loss": loss, "public_accuracy": accuracy}
            if training.schedule == "plateau":
                self.scheduler.step(accuracy)
            self.epoch, self.step, self.meters = self.epoch + 1, 0, Meters()
            if self.fabric.is_global_zero:
                self.log.epoch(row)
                if improved:
                    self._save_best(row, predictions)
            self.save()
            if self._asked_to_stop(interrupt):
                return False
        return True

    def train_epoch(self, interrupt: Interrupt) -> None:
        """Takes the steps that are left of this epoch, or those before an interruption."""
        self.network.train()
        started = time.perf_counter()
        for batch in self.batches.epoch(self.epoch, self.step, self.fabric.device):
            parts, logits = self.train_step(batch)
            now = time.perf_counter()
            self.meters.add(parts, logits, batch.targets, now - started)
            started = now
            self.step += 1
            if self.fabric.is_global_zero:
                self.log.step(self.epoch + 1, self.step, len(self.batches), self.meters.means())
            if self._asked_to_stop(interrupt):
                return

    def train_step(self, batch: Batch) -> tuple[LossParts, Tensor]:
        """One step of the optimizer.

        Returns:
            The loss and the logits (N, K).

        Raises:
            TrainingError: The logits are not finite.
        """
        # Dropout draws from the global state; set from the step's number, it needs no saving.
        torch.manual_seed(seed_for(self.config.training.seed, self.epoch, self.step, self.fabric.global_rank, 1))
        with self.products:
            outputs = self.stepped(self.preprocessing.normalise(batch.images))
        if not outputs.logits.isfinite().all():
            raise self._diverged()
        parts = total_loss(
            outputs, batch.images, batch.distributions, self.config.loss, self.class_weights, batch.teacher
        )
        with self.products:
            self.fabric.backward(parts.total)
        self.stepper.step()
        self.stepper.zero_grad()
        self.averaged.update_parameters(self.network)
        if self.config.training.schedule == "one-cycle":
            self.scheduler.step()
        return parts, outputs.logits.detach()

    @torch.inference_mode()
    def validate(self) -> Predictions:
        """What the averaged weights say of PublicTest, all its faces.

        Raises:
            TrainingError: The logits are not finite.
        """
        self.averaged.eval()
        logits = compute_logits(self.averaged, self.preprocessing, self.public.images)
        if not np.isfinite(logits).all():
            raise self._diverged()
        return Predictions(self.public.index, logits, self.public.targets, self.public.classes)

    def save(self) -> None:
        """Writes the run's whole state to LAST."""
        if not self.fabric.is_global_zero:
            return
        tensors = checkpoint.add_prefix(self.network.state_dict(), "network")
        tensors |= checkpoint.add_prefix(self.averaged.state_dict(), "averaged")
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= checkpoint.add_prefix(values, f"optimizer.{index}")
        state = {
            "config": configs.to_dict(self.config),
            "classes": list(self.public.classes),
            "data": self.data_digest,
            "epoch": self.epoch,
            "step": self.step,
            "meters": vars(self.meters),
            "best_accuracy": self.best_accuracy,
            "best_epoch": self.best_epoch,
            "scheduler": self.scheduler.state_dict(),
            "learning_rates": [group["lr"] for group in self.optimizer.param_groups],
            "log": self.log.rows,
        }
        checkpoint.save(self.folder / LAST, tensors, state)

    def resume(self) -> None:
        """Takes up the state that `save` wrote; the next step is the one that would have come.

        But for 16-mixed, whose scale of the loss begins anew.

        Raises:
            WeightsError: There is no such state, or it is damaged.
            ConfigError: It belongs to another config.
        """
        tensors, state = checkpoint.load(self.folder / LAST)
        try:
            self._take_up(tensors, state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise WeightsError(
                f"{self.folder / LAST} is damaged, or no run's last checkpoint ({error_text(error)}): bring its copy "
                "back, or train into another folder"
            ) from None

    def _take_up(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        if differing := _differences(configs.to_dict(self.config), configs.to_dict(configs.from_dict(state["config"]))):
            raise ConfigError(
                f"{self.folder} was trained with another config: {'; '.join(differing)}; resume with its own "
                f"{CONFIG}, or train into another folder"
            )
        if state["data"] != self.data_digest:
            raise ConfigError(
                f"{self.folder} was trained on other faces, or by another teacher, than its config's files hold now: "
                "bring the old ones back, or train into another folder"
            )
        self.network.load_state_dict(checkpoint.strip_prefix(tensors, "network"))
        self.averaged.load_state_dict(checkpoint.strip_prefix(tensors, "averaged"))
        optimizer = self.optimizer.state_dict()
        values: dict[int, dict[str, Tensor]] = {}
        for key, tensor in checkpoint.strip_prefix(tensors, "optimizer").items():
            index, _, name = key.partition(".")
            values.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict({"state": values, "param_groups": optimizer["param_groups"]})
        self.scheduler.load_state_dict(state["scheduler"])
        for group, rate in zip(self.optimizer.param_groups, state["learning_rates"], strict=True):
            group["lr"] = rate
        self.epoch, self.step = state["epoch"], state["step"]
        self.meters = Meters(**state["meters"])
        self.best_accuracy, self.best_epoch = state["best_accuracy"], state["best_epoch"]
        self.log.restore(state["log"])

    def _diverged(self) -> TrainingError:
        return TrainingError(
            f"the network's numbers are not finite in epoch {self.epoch + 1}: lower training.learning_rate, now "
            f"{self.config.training.learning_rate:g}, and train into another folder"
        )

    def _asked_to_stop(self, interrupt: Interrupt) -> bool:
        """Whether any of the processes was asked: one that stopped alone would leave the others waiting for it."""
        if self.fabric.world_size == 1:
            return interrupt.requested
        asked = self.fabric.all_reduce(torch.tensor(float(interrupt.requested)), reduce_op="sum")
        return bool(cast(Tensor, asked) > 0)

    def _done(self) -> bool:
        training = self.config.training
        stalled = training.stop_after and self.epoch - self.best_epoch >= training.stop_after
        return bool(self.epoch >= training.epochs or stalled)

    def _save_best(self, row: dict[str, float], public: Predictions) -> None:
        state = {
            "config": configs.to_dict(self.config),
            "classes": list(self.public.classes),
            "calibration": calibrate(public).to_dict(),
            "row": row,
        }
        checkpoint.save(self.folder / BEST, checkpoint.to_half_precision(self.averaged.module.state_dict()), state)


def _fabric(training: TrainingConfig) -> Fabric:
    if training.devices > max(torch.cuda.device_count(), 1):
        raise ConfigError(
            f"training.devices is {training.devices}, but this machine has {torch.cuda.device_count()} GPUs"
        )
    if training.precision == "16-mixed" and not torch.cuda.is_available():
        raise ConfigError("training.precision 16-mixed needs a GPU, and there is none: use bf16-mixed or 32-true")
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=training.devices,
        precision=training.precision,
        # A decoder whose loss has weight 0 is no part of the backward pass.
        strategy="ddp_find_unused_parameters_true" if training.devices > 1 else "auto",
    )
    fabric.launch()
    return fabric


def _products(training: TrainingConfig, network: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """How a step multiplies."""
    # torch.compile does not see what is done in place of an operation.
    if training.precision == "bf16-mixed" and device.type == "cpu" and not training.compile:
        if not multiplies_bfloat16():
            return InSinglePrecision()  # type: ignore[no-untyped-call]
        if any(map(is_depthwise, network.modules())):
            return FastDepthwiseGradients()  # type: ignore[no-untyped-call]
    return nullcontext()


def _optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Weight decay for weights of two or more dimensions only: biases and batch norms are left alone."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.learning_rate)
    if training.optimizer == "radam":
        # Decoupled, as in the base project's own: added to the gradient, RAdam's normalisation would undo its size.
        return torch.optim.RAdam(groups, lr=training.learning_rate, decoupled_weight_decay=True)
    return torch.optim.SGD(groups, lr=training.learning_rate, momentum=0.9, nesterov=True)


def _scheduler(optimizer: torch.optim.Optimizer, training: TrainingConfig, steps: int) -> Any:
    if training.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.1, patience=training.plateau_patience
        )
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=training.learning_rate,
        total_steps=training.epochs * steps + 1,  # it counts the state before the first step too
        # torch divides by the climb's length less one step: a climb of exactly one would be a division by 0.
        pct_start=training.warmup * (1 - 1e-9),
        cycle_momentum=False,
        final_div_factor=1e3,
    )


def _moving_average(decay: float) -> Any:
    """Exponential moving average whose decay climbs to `decay`, so that the first weights are soon forgotten."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        n = int(count)
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(list(averaged), list(current))

    return update


def _differences(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    found = []
    for section, fields in mine.items():
        for key, value in fields.items():
            other = theirs.get(section, {}).get(key)
            if other != value and (section, key) != ("data", "path"):  # the faces are compared, wherever they lie
                found.append(f"{section}.{key} is {value!r} and was {other!r}")
    return found
