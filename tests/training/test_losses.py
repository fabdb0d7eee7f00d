"""Each equation is compared with numbers computed by hand."""

import dataclasses
import math

import pytest
import torch

from mien.config import LossConfig
from mien.networks.outputs import Outputs
from mien.training import losses


def test_target_distribution_mixes_label_smoothing_and_votes():
    votes = torch.tensor([[0.0, 6.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    rows = losses.target_distribution(torch.tensor([0, 3]), 4, label_smoothing=0.2, votes=votes, ferplus=0.4)
    # 0.4 for the label, 0.2 / 4 = 0.05 for each class, 0.4 for the votes (6/8 and 2/8) or, without votes, the label
    expected = [[0.45, 0.05 + 0.3, 0.05 + 0.1, 0.05], [0.05, 0.05, 0.05, 0.45 + 0.4]]
    torch.testing.assert_close(rows, torch.tensor(expected))


def test_balanced_class_weights_are_inverse_frequencies():
    weights = losses.balanced_class_weights(torch.tensor([0, 0, 0, 1]), 3)
    # N / (K n): 4 / (3 * 3), 4 / (3 * 1); class 2 has no face
    torch.testing.assert_close(weights, torch.tensor([4 / 9, 4 / 3, 1.0]))


def test_cross_entropy_of_soft_targets():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # probabilities 3/4, 1/4 and 1/2, 1/2
    distribution = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    expected = (-math.log(0.75) + math.log(2)) / 2
    assert losses.cross_entropy(logits, distribution).item() == pytest.approx(expected, abs=1e-6)


def test_cross_entropy_weights_classes_and_divides_by_n():
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    distribution = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    weighted = losses.cross_entropy(logits, distribution, torch.tensor([2.0, 4.0]))
    expected = (2 * -math.log(0.75) + (2 * 0.25 + 4 * 0.75) * math.log(2)) / 2
    assert weighted.item() == pytest.approx(expected, abs=1e-6)


def test_reconstruction_loss_is_mean_absolute_error():
    images = torch.tensor([0.0, 0.5, 1.0, 0.25]).view(1, 1, 2, 2)
    reconstruction = torch.tensor([0.1, 0.5, 0.6, 0.0]).view(1, 1, 2, 2)
    assert losses.reconstruction_loss(images, reconstruction).item() == pytest.approx((0.1 + 0 + 0.4 + 0.25) / 4)


def test_margin_loss_labels_is_binary_cross_entropy_per_class():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # e = 3/4, 1/4
    distribution = torch.tensor([[0.9, 0.1]])
    first = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    second = -(0.1 * math.log(0.25) + 0.9 * math.log(0.75))
    value = losses.margin_loss_labels(logits, distribution).item()
    assert value == pytest.approx((first + second) / 2, abs=1e-6)


def test_margin_loss_labels_is_zero_if_certainly_right_and_finite_if_certainly_wrong():
    right = torch.tensor([[1.0, 0.0, 0.0]])
    logits = torch.tensor([[100.0, 0.0, 0.0]], requires_grad=True)
    assert losses.margin_loss_labels(logits, right).item() < 1e-5
    wrong = losses.margin_loss_labels(-logits, right)
    wrong.backward()
    assert math.isfinite(wrong.item())
    assert torch.isfinite(logits.grad).all()


def test_saliency_is_gradient_magnitude_over_its_maximum():
    images = torch.zeros(1, 1, 3, 5)
    images[..., 3:] = 1.0  # central differences detect an edge in the columns on both sides
    expected = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0]).expand(1, 1, 3, 5)
    torch.testing.assert_close(losses.saliency(images), expected)


def test_margin_loss_mask_compares_mean_mask_with_saliency():
    images = torch.zeros(1, 1, 2, 4)
    images[..., 2:] = 1.0  # saliency 0, 1, 1, 0 along a row; at half the size 0.5, 0.5
    mask = torch.tensor([0.2, 0.4, 0.6, 0.8]).view(1, 2, 1, 2)  # channel means 0.4, 0.6
    expected = -(0.5 * math.log(0.4) + 0.5 * math.log(0.6))  # 0.4 and 0.6 at both positions
    value = losses.margin_loss_mask((mask, mask), images).item()
    assert value == pytest.approx(expected, abs=1e-6)


def test_total_is_weighted_sum_of_parts():
    logits = torch.tensor([[math.log(3.0), 0.0]])
    images = torch.zeros(1, 1, 2, 2)
    outputs = Outputs(logits, (), torch.full((1, 1, 2, 2), 0.3))
    distribution = torch.tensor([[1.0, 0.0]])
    parts = losses.total_loss(outputs, images, distribution, LossConfig(reconstruction=2.0, margin=0.5))
    entropy = -math.log(0.75)
    assert parts.cross_entropy.item() == pytest.approx(entropy, abs=1e-6)
    assert parts.reconstruction.item() == pytest.approx(0.3)
    assert parts.margin.item() == pytest.approx(entropy, abs=1e-6)  # -log 0.75 for both classes
    assert parts.total.item() == pytest.approx(entropy + 2 * 0.3 + 0.5 * entropy, abs=1e-6)


def test_total_includes_auxiliary_heads():
    main, auxiliary = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    outputs = Outputs(main, auxiliary_logits=(auxiliary, auxiliary))
    images, distribution = torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 0.0]])
    parts = losses.total_loss(outputs, images, distribution, LossConfig(reconstruction=0, margin=0))
    assert parts.cross_entropy.item() == pytest.approx(math.log(2))
    assert parts.total.item() == pytest.approx(math.log(2) - 2 * losses.AUXILIARY_WEIGHT * math.log(0.75))


def test_parts_without_weight_or_output_are_zero():
    outputs = Outputs(torch.zeros(1, 2))
    images, distribution = torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 0.0]])
    parts = losses.total_loss(outputs, images, distribution, LossConfig(margin=1.0, margin_reading="mask"))
    assert parts.margin.item() == 0
    assert parts.reconstruction.item() == 0
    assert parts.total.item() == pytest.approx(math.log(2))


def test_distillation_loss_is_cross_entropy_minus_teacher_entropy():
    logits, teacher_logits, temperature = torch.randn(5, 7), torch.randn(5, 7), 3.0
    teacher = (teacher_logits / temperature).softmax(dim=1)
    entropy = -(teacher * teacher.log()).sum(dim=1).mean()
    cross = -(teacher * (logits / temperature).log_softmax(dim=1)).sum(dim=1).mean()
    value = losses.distillation_loss(logits, teacher, temperature)
    torch.testing.assert_close(value, temperature**2 * (cross - entropy))
    torch.testing.assert_close(losses.distillation_loss(teacher_logits, teacher, temperature), torch.tensor(0.0))


def test_distillation_replaces_a_fraction_of_the_cross_entropy_only():
    logits, teacher = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.2, 0.8]])
    outputs = Outputs(logits, (), torch.full((1, 1, 2, 2), 0.3))
    images, distribution = torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 0.0]])
    config = LossConfig(reconstruction=2.0, margin=0, distillation=0.3, temperature=1.0)
    parts = losses.total_loss(outputs, images, distribution, config, None, teacher)
    expected = losses.distillation_loss(logits, teacher, 1.0)
    assert parts.distillation.item() == pytest.approx(expected.item())
    assert parts.total.item() == pytest.approx(0.7 * -math.log(0.75) + 0.3 * expected.item() + 2 * 0.3, abs=1e-6)


def test_every_part_has_a_column_in_the_log():
    assert list(losses.LOSS_COLUMNS) == [field.name for field in dataclasses.fields(losses.LossParts)]
    assert list(losses.LOSS_COLUMNS.values()) == [
        "train_loss",
        "train_cross_entropy",
        "train_reconstruction",
        "train_margin",
        "train_distillation",
    ]
