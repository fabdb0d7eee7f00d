"""The training loop: setup, fit, train_epoch, validate, and one state dict that is saved and resumed whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
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
from mien.config import Config
from mien.data.dataset import FaceDataset
from mien.data.folds import without_fold
from mien.errors import ConfigError, DataError, TrainingError, WeightsError, error_text
from mien.files import expand_user
from mien.interrupt import Interrupt
from mien.models import checkpoint
from mien.models.build import build_network
from mien.models.checkpoint import BEST, LAST
from mien.models.torch_model import compute_logits
from mien.shipped_configs import find_teacher
from mien.training.allocator import keep_freed_memory
from mien.training.batches import Batch, Batches, digest_of, seed_for
from mien.training.bfloat16 import product_mode, use_depthwise_operation
from mien.training.distill import Teachers, teacher_probabilities
from mien.training.log import Log, Meters
from mien.training.losses import LossParts, balanced_class_weights, total_loss
from mien.training.optimization import make_optimizer, make_scheduler, moving_average
from mien.training.processes import gather, launch, leave_unless_first, on_first, shared_errors
from mien.training.state import config_differences, load_state, save_state
from mien.training.synced_batch_norm import sync_batch_norms
from mien.training.views import TeacherViews
from mien.types import Predictions

CONFIG = "config.toml"
"""Name of the config's file in a run's folder."""


class Trainer:
    """Trains one network and writes its checkpoints.

    Several processes train together if each of them makes a trainer. They average their gradients, so that all have the
    same weights, and process 0 alone writes and logs.

    Args:
        config: All settings.
        dataset: Faces with a training and a public split.
        folder: Folder of the checkpoints.
        log: Receives every step and epoch.
        fabric: The processes; None starts those that the config asks for.
        images_per_step: Images of each step in all processes together, a multiple of their number; None is
            `training.batch_size` images in each process.

    Raises:
        ConfigError: The settings do not fit the machine or the data.
        DataError: A split is missing, or the training split has one class only.
        WeightsError: A teacher cannot be used.
    """

    def __init__(
        self,
        config: Config,
        dataset: FaceDataset,
        folder: Path,
        log: Log,
        fabric: Fabric | None = None,
        images_per_step: int | None = None,
    ) -> None:
        training = config.training
        keep_freed_memory()
        if training.threads:
            torch.set_num_threads(training.threads)
        self.config, self.folder, self.log = config, folder, log
        self.fabric = fabric or launch(training)
        torch.manual_seed(training.seed)
        self.network, self.preprocessing = build_network(config, len(dataset.classes))
        self.network.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.fabric.world_size > 1:
            sync_batch_norms(self.network, self.fabric.device)
        self.averaged = AveragedModel(self.network, multi_avg_fn=moving_average(training.ema_decay), use_buffers=True)
        self.optimizer = make_optimizer(self.network, training)
        self._setup_data(dataset, images_per_step)
        self.scheduler = make_scheduler(self.optimizer, training, len(self.batches))
        if training.compile and training.precision == "bf16-mixed" and self.fabric.device.type == "cpu":
            use_depthwise_operation(self.network)
        self.product_mode = product_mode(training, self.network, self.fabric.device)
        self.epoch = self.step = 0
        self.meters = Meters()
        self.best_accuracy, self.best_epoch = -1.0, 0

    @cached_property
    def _connected(self) -> tuple[Any, Any]:
        """The network and the optimizer that average their gradients over all processes.

        Made at the first step: it waits for all processes, and gives all of them the weights of process 0.
        """
        decoder = getattr(self.network, "decoder", None)
        if self.fabric.world_size > 1 and decoder is not None and not self.config.loss.reconstruction:
            decoder.requires_grad_(False)  # no gradient comes, and the processes would wait for one
        compiled = cast(nn.Module, torch.compile(self.network)) if self.config.training.compile else self.network
        network, optimizer = self.fabric.setup(compiled, self.optimizer)
        return network, optimizer

    def _setup_data(self, dataset: FaceDataset, images_per_step: int | None) -> None:
        loss, data, training = self.config.loss, self.config.data, self.config.training
        faces = without_fold(dataset.split("training"), data.folds, data.held_out)
        teacher = self._teacher(faces) if loss.distillation else None
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        share = images_per_step // world_size if images_per_step else training.batch_size
        shared = replace(self.config, training=replace(training, batch_size=share))
        self.batches = Batches(faces, self.preprocessing, shared, teacher, rank, world_size)
        if len(self.batches) == 0:
            raise ConfigError(
                f"training.batch_size must be at most the {len(faces)} faces of the training split, got "
                f"{share}" + (f" in each of {world_size} processes" if world_size > 1 else "")
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
        return teacher_probabilities(find_teacher(data.teacher), faces, temperature)

    @classmethod
    def for_single_steps(cls, config: Config, dataset: FaceDataset) -> Trainer:
        """Makes a trainer for calls of `train_step`, with the network in training mode; it shows and writes nothing."""
        config = replace(config, training=replace(config.training, devices=1))
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
            self.meters.add(parts, logits, batch.targets, now - started, self._sum)
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
            outputs = self._connected[0](self.preprocessing.normalise(batch.images))
        if self._any(not outputs.logits.isfinite().all()):
            raise self._divergence_error()
        parts = total_loss(
            outputs, batch.images, batch.distributions, self.config.loss, self.class_weights, batch.teacher
        )
        with self.product_mode:
            self.fabric.backward(parts.total)
        self._connected[1].step()
        self._connected[1].zero_grad()
        self.averaged.update_parameters(self.network)
        if self.config.training.schedule == "one-cycle":
            self.scheduler.step()
        return parts, outputs.logits.detach()

    @torch.inference_mode()
    def validate(self) -> Predictions:
        """Predicts all faces of PublicTest with the averaged weights; each process predicts its share of them.

        Raises:
            TrainingError: The logits are not finite.
        """
        self.averaged.eval()
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        own = compute_logits(self.averaged, self.preprocessing, self.public.images[rank::world_size])
        logits = own
        if world_size > 1:
            logits = np.empty((len(self.public), own.shape[1]), np.float32)
            for number, part in enumerate(gather(self.fabric, own)):
                logits[number::world_size] = part
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
            "images_per_step": self.batches.images_per_step,
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

        Process 0 reads the file for all. Another number of processes than before continues in the same order of faces.
        The config may have more epochs than the run, if its schedule is plateau.

        Raises:
            WeightsError: LAST is missing or damaged.
            ConfigError: The run has another config, other faces or another teacher.
        """
        with shared_errors(self.fabric):
            if len(set(gather(self.fabric, self.data_digest))) > 1:
                raise ConfigError("all processes must read the same faces, but these differ: compare data.path")
        state = on_first(self.fabric, lambda: load_state(self.folder / LAST))
        with shared_errors(self.fabric):
            try:
                self._check_same_run(state)
                self.load_state_dict(state)
            except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
                raise WeightsError(
                    f"{self.folder / LAST} is damaged or not the last checkpoint of a run ({error_text(error)}): "
                    "restore it from a backup, or train into another folder"
                ) from None
        complete = self.step == 0 and self.epoch == self.best_epoch > 0
        if complete and not on_first(self.fabric, self._best_is_current):
            self._save_best(self.validate())

    def _check_same_run(self, state: dict[str, Any]) -> None:
        old_config = configs.from_dict(state["config"])
        if self.config.training.schedule == "plateau" and self.config.training.epochs > old_config.training.epochs:
            # The learning rate of this schedule does not depend on the number of epochs.
            training = replace(old_config.training, epochs=self.config.training.epochs)
            old_config = replace(old_config, training=training)
        old = configs.to_dict(old_config)
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
        images = images_per_step(state)
        if images != self.batches.images_per_step:
            raise ConfigError(
                f"{self.folder} was trained with {images} images per step, and {self.fabric.world_size} processes now "
                f"take {self.batches.images_per_step}: train into another folder"
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
        leave_unless_first(self.fabric)
        return TrainingError(
            f"training diverged in epoch {self.epoch + 1}, the logits are not finite: lower training.learning_rate, "
            f"now {self.config.training.learning_rate:g}, and train into another folder"
        )

    def _stop_requested(self, interrupt: Interrupt) -> bool:
        """Whether any process was asked to stop; if only one stopped, the others would wait for it forever."""
        return self._any(interrupt.requested)

    def _any(self, condition: bool | Tensor) -> bool:
        """Whether a condition holds in any process."""
        return self._sum([float(condition)])[0] > 0

    def _sum(self, values: Sequence[float]) -> list[float]:
        """Sums values over all processes."""
        if self.fabric.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        return cast(Tensor, self.fabric.all_reduce(tensor, reduce_op="sum")).tolist()

    def _is_done(self) -> bool:
        training = self.config.training
        stalled = training.stop_after and self.epoch - self.best_epoch >= training.stop_after
        return bool(self.epoch >= training.epochs or stalled)


def images_per_step(state: dict[str, Any]) -> int:
    """Returns the images of each step in all processes together, of a run's state."""
    if "images_per_step" in state:
        return int(state["images_per_step"])
    training = state["config"]["training"]  # a run of mien 0.1
    return int(training["batch_size"] * training["devices"])
