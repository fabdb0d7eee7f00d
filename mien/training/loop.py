"""The training loop: setup, fit, train_epoch, validate, and one state dict that is saved and resumed whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from mien import config as configs
from mien.calibration import fit_calibration
from mien.config import Config, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.data.folds import without_fold
from mien.errors import ConfigError, DataError, TrainingError, WeightsError, error_text
from mien.files import expand_user
from mien.interrupt import Interrupt
from mien.models import checkpoint
from mien.models.build import build_network
from mien.models.checkpoint import BEST, LAST
from mien.models.torch_model import compute_logits
from mien.training.allocator import keep_freed_memory
from mien.training.batches import Batch, Batches, digest_of, seed_for
from mien.training.bfloat16 import product_mode, use_depthwise_operation
from mien.training.distill import Teachers, teacher_probabilities
from mien.training.log import Log, Meters
from mien.training.losses import LossParts, balanced_class_weights, total_loss
from mien.training.optimization import make_optimizer, make_scheduler, moving_average
from mien.training.state import config_differences, load_state, save_state
from mien.training.views import TeacherViews
from mien.types import Predictions

CONFIG = "config.toml"
"""Name of the config's file in a run's folder."""


class Trainer:
    """Trains one network and writes its checkpoints.

    Args:
        config: All settings.
        dataset: Faces with a training and a public split.
        folder: Folder of the checkpoints.
        log: Receives every step and epoch.

    Raises:
        ConfigError: The settings do not fit the machine or the data.
        DataError: A split is missing, or the training split has one class only.
        WeightsError: A teacher cannot be used.
    """

    def __init__(self, config: Config, dataset: FaceDataset, folder: Path, log: Log) -> None:
        training = config.training
        keep_freed_memory()
        if training.threads:
            torch.set_num_threads(training.threads)
        self.config, self.folder, self.log = config, folder, log
        self.fabric = _launch_fabric(training)
        torch.manual_seed(training.seed)
        self.network, self.preprocessing = build_network(config, len(dataset.classes))
        self.network.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(self.network, multi_avg_fn=moving_average(training.ema_decay), use_buffers=True)
        self.optimizer = make_optimizer(self.network, training)
        self._setup_data(dataset)
        self.scheduler = make_scheduler(self.optimizer, training, len(self.batches))
        if training.compile and training.precision == "bf16-mixed" and self.fabric.device.type == "cpu":
            use_depthwise_operation(self.network)
        compiled = cast(nn.Module, torch.compile(self.network)) if training.compile else self.network
        self._fabric_network, self._fabric_optimizer = self.fabric.setup(compiled, self.optimizer)
        self.product_mode = product_mode(training, self.network, self.fabric.device)
        self.epoch = self.step = 0
        self.meters = Meters()
        self.best_accuracy, self.best_epoch = -1.0, 0

    def _setup_data(self, dataset: FaceDataset) -> None:
        loss, data = self.config.loss, self.config.data
        faces = without_fold(dataset.split("training"), data.folds, data.held_out)
        teacher = self._teacher(faces) if loss.distillation else None
        self.batches = Batches(
            faces, self.preprocessing, self.config, teacher, self.fabric.global_rank, self.fabric.world_size
        )
        if len(self.batches) == 0:
            raise ConfigError(
                f"training.batch_size must be at most the {len(faces)} faces of the training split, got "
                f"{self.config.training.batch_size}"
            )
        if len(present := self.batches.targets.bincount().nonzero()) == 1:
            raise DataError(
                f"the training split must have faces of at least 2 classes, got only {dataset.classes[int(present)]}"
            )
        self.class_weights = None
        if loss.class_weights == "balanced":
            weights = balanced_class_weights(self.batches.targets, len(dataset.classes))
            self.class_weights = weights.to(self.fabric.device)
        self.public = dataset.split("public")
        self.data_digest = digest_of(self.public, self.batches.digest.encode())

    def _teacher(self, faces: FaceDataset) -> Tensor | Teachers | TeacherViews:
        data, temperature = self.config.data, self.config.loss.temperature
        if data.views:
            return TeacherViews.load(expand_user(data.views), faces)
        if data.teachers:
            return Teachers(data.teachers, faces.classes, temperature, self.fabric.device)
        return teacher_probabilities(Path(data.teacher), faces, temperature)

    @classmethod
    def for_single_steps(cls, config: Config, dataset: FaceDataset) -> Trainer:
        """Makes a trainer for calls of `train_step`, with the network in training mode; it shows and writes nothing."""
        trainer = cls(config, dataset, Path(), Log(Path(), config.training.epochs, Console(quiet=True)))
        trainer.network.train()
        return trainer

    def fit(self, interrupt: Interrupt) -> bool:
        """Trains until the last epoch or an interruption, and saves after every epoch and at the interruption.

        Returns:
            False after an interruption, even if it came in the last epoch: the caller must not start anything else.
        """
        while not self._is_done():
            self.train_epoch(interrupt)
            if self.step < len(self.batches):
                self.save()
                return False
            self._end_epoch(self.validate())
            if self._stop_requested(interrupt):
                return False
        return True

    def train_epoch(self, interrupt: Interrupt) -> None:
        """Trains on the remaining batches of this epoch, or until an interruption."""
        self.network.train()
        started = time.perf_counter()
        for batch in self.batches.epoch(self.epoch, self.step, self.fabric.device):
            parts, logits = self.train_step(batch)
            now = time.perf_counter()
            self.meters.add(parts, logits, batch.targets, now - started)
            started = now
            self.step += 1
            if self.fabric.is_global_zero:
                self.log.log_step(self.epoch + 1, self.step, len(self.batches), self.meters.means())
            if self._stop_requested(interrupt):
                return

    def train_step(self, batch: Batch) -> tuple[LossParts, Tensor]:
        """Updates the weights once.

        Returns:
            The losses and the logits (N, K).

        Raises:
            TrainingError: The logits are not finite.
        """
        # Dropout draws from the global random state. A seed made of the step's number need not be saved.
        torch.manual_seed(seed_for(self.config.training.seed, self.epoch, self.step, self.fabric.global_rank, 1))
        with self.product_mode:
            outputs = self._fabric_network(self.preprocessing.normalise(batch.images))
        if not outputs.logits.isfinite().all():
            raise self._divergence_error()
        parts = total_loss(
            outputs, batch.images, batch.distributions, self.config.loss, self.class_weights, batch.teacher
        )
        with self.product_mode:
            self.fabric.backward(parts.total)
        self._fabric_optimizer.step()
        self._fabric_optimizer.zero_grad()
        self.averaged.update_parameters(self.network)
        if self.config.training.schedule == "one-cycle":
            self.scheduler.step()
        return parts, outputs.logits.detach()

    @torch.inference_mode()
    def validate(self) -> Predictions:
        """Predicts all faces of PublicTest with the averaged weights.

        Raises:
            TrainingError: The logits are not finite.
        """
        self.averaged.eval()
        logits = compute_logits(self.averaged, self.preprocessing, self.public.images)
        if not np.isfinite(logits).all():
            raise self._divergence_error()
        return Predictions(self.public.index, logits, self.public.targets, self.public.classes)

    def _end_epoch(self, predictions: Predictions) -> None:
        """Logs and saves a complete epoch."""
        logits, targets = torch.from_numpy(predictions.logits), torch.from_numpy(predictions.targets)
        accuracy = float(predictions.correct.mean())
        row = {"epoch": self.epoch + 1, "learning_rate": self.optimizer.param_groups[0]["lr"]} | self.meters.means()
        row |= {"public_loss": float(nn.functional.cross_entropy(logits, targets)), "public_accuracy": accuracy}
        improved = accuracy > self.best_accuracy
        if improved:
            self.best_accuracy, self.best_epoch = accuracy, self.epoch + 1
        if self.config.training.schedule == "plateau":
            self.scheduler.step(accuracy)
        self.epoch, self.step, self.meters = self.epoch + 1, 0, Meters()
        if self.fabric.is_global_zero:
            self.log.log_epoch(row)
        self.save()
        if improved:  # after LAST, so that BEST never exists alone; `resume` writes it if the process ends in between
            self._save_best(predictions)

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a resumed run needs."""
        return {
            "config": configs.to_dict(self.config),
            "classes": list(self.public.classes),
            "data": self.data_digest,
            "epoch": self.epoch,
            "step": self.step,
            "meters": self.meters.sums,
            "best_accuracy": self.best_accuracy,
            "best_epoch": self.best_epoch,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "scheduler": self.scheduler.state_dict(),
            "learning_rates": [group["lr"] for group in self.optimizer.param_groups],
            "log": self.log.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned; the loss scale of 16-mixed is not part of it and starts anew."""
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.scheduler.load_state_dict(state["scheduler"])
        for group, rate in zip(self.optimizer.param_groups, state["learning_rates"], strict=True):
            group["lr"] = rate
        self.epoch, self.step, self.meters = state["epoch"], state["step"], Meters(state["meters"])
        self.best_accuracy, self.best_epoch = state["best_accuracy"], state["best_epoch"]
        self.log.restore(state["log"])

    def save(self) -> None:
        """Writes the state to LAST."""
        if self.fabric.is_global_zero:
            save_state(self.folder / LAST, self.state_dict())

    def resume(self) -> None:
        """Restores the state from LAST, so that training continues exactly where it stopped.

        Raises:
            WeightsError: LAST is missing or damaged.
            ConfigError: The run has another config, other faces or another teacher.
        """
        state = load_state(self.folder / LAST)
        try:
            self._check_same_run(state)
            self.load_state_dict(state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise WeightsError(
                f"{self.folder / LAST} is damaged or not the last checkpoint of a run ({error_text(error)}): restore "
                "it from a backup, or train into another folder"
            ) from None
        if self.step == 0 and self.epoch == self.best_epoch > 0 and not self._best_is_current():
            self._save_best(self.validate())

    def _check_same_run(self, state: dict[str, Any]) -> None:
        old = configs.to_dict(configs.from_dict(state["config"]))
        if differences := config_differences(configs.to_dict(self.config), old):
            raise ConfigError(
                f"{self.folder} was trained with another config: {'; '.join(differences)}; resume with the run's own "
                f"{CONFIG}, or train into another folder"
            )
        if state["classes"] != list(self.public.classes):
            raise ConfigError(
                f"{self.folder} was trained with the classes {', '.join(state['classes'])}, and the data now has "
                f"{', '.join(self.public.classes)}: restore the old data, or train into another folder"
            )
        if state["data"] != self.data_digest:
            raise ConfigError(
                f"{self.folder} was trained with other faces or another teacher than the files of its config contain "
                "now: restore the old files, or train into another folder"
            )

    def _save_best(self, public: Predictions) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "config": configs.to_dict(self.config),
            "classes": list(self.public.classes),
            "calibration": fit_calibration(public).to_dict(),
            "row": self.log.rows[-1],
        }
        checkpoint.save(self.folder / BEST, checkpoint.to_half_precision(self.averaged.module.state_dict()), state)

    def _best_is_current(self) -> bool:
        """Whether BEST holds the best epoch; it does not if the process ended after LAST was written."""
        try:
            _, state = checkpoint.load(self.folder / BEST)
            return bool(state["row"]["epoch"] == self.best_epoch)
        except (WeightsError, KeyError, TypeError):
            return False

    def _divergence_error(self) -> TrainingError:
        return TrainingError(
            f"training diverged in epoch {self.epoch + 1}, the logits are not finite: lower training.learning_rate, "
            f"now {self.config.training.learning_rate:g}, and train into another folder"
        )

    def _stop_requested(self, interrupt: Interrupt) -> bool:
        """Whether any process was asked to stop; if only one stopped, the others would wait for it forever."""
        if self.fabric.world_size == 1:
            return interrupt.requested
        requested = self.fabric.all_reduce(torch.tensor(float(interrupt.requested)), reduce_op="sum")
        return bool(cast(Tensor, requested) > 0)

    def _is_done(self) -> bool:
        training = self.config.training
        stalled = training.stop_after and self.epoch - self.best_epoch >= training.stop_after
        return bool(self.epoch >= training.epochs or stalled)


def _launch_fabric(training: TrainingConfig) -> Fabric:
    if training.devices > max(torch.cuda.device_count(), 1):
        raise ConfigError(
            f"training.devices must be at most the number of GPUs of this machine, {torch.cuda.device_count()}, got "
            f"{training.devices}"
        )
    if training.precision == "16-mixed" and not torch.cuda.is_available():
        raise ConfigError("training.precision 16-mixed needs a GPU, but there is none: use bf16-mixed or 32-true")
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        devices=training.devices,
        precision=training.precision,
        # A decoder whose loss has weight 0 takes no part in the backward pass.
        strategy="ddp_find_unused_parameters_true" if training.devices > 1 else "auto",
    )
    fabric.launch()
    return fabric
