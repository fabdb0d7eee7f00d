"""The log of a run: means over images, and the line beside the progress bar."""

import dataclasses

import pytest
import torch

from mien.training.log import Meters, progress_text
from mien.training.losses import LOSS_COLUMNS, LossParts


def parts(value: float) -> LossParts:
    return LossParts(**{field.name: torch.tensor(value) for field in dataclasses.fields(LossParts)})


def test_meters_weight_batches_by_their_images():
    meters = Meters()
    meters.add(parts(1.0), torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 0]), 2.0)
    meters.add(parts(4.0), torch.eye(2), torch.tensor([0, 1]), 1.0)
    means = meters.means()
    assert [means[column] for column in LOSS_COLUMNS.values()] == pytest.approx([2.0] * len(LOSS_COLUMNS))
    assert means["train_accuracy"] == pytest.approx(5 / 6)
    assert (means["images_per_s"], means["train_s"]) == (2.0, 3.0)


def test_meters_continue_from_saved_sums():
    meters = Meters()
    meters.add(parts(1.0), torch.eye(2), torch.tensor([0, 1]), 2.0)
    assert Meters(meters.sums).means() == meters.means()


def test_meters_start_from_zero_in_a_part_that_an_older_checkpoint_lacks():
    sums = Meters().sums
    sums.pop("margin")
    assert Meters(sums).sums["margin"] == 0


def test_progress_text_leaves_out_parts_without_weight():
    means = dict.fromkeys(Meters().means(), 0.0)
    means |= {"train_loss": 1.25, "train_cross_entropy": 1.2, "train_margin": 0.5, "train_accuracy": 0.625}
    text = progress_text(means | {"images_per_s": 99.6})
    assert text == "loss 1.250 (cross entropy 1.200, margin 0.500)  accuracy 62.5%  100 images/s"
