"""The training loss: cross-entropy + w_rec * L_rec + w_margin * L_margin; a teacher may share in the first.

Shen and Li, "Facial Expression Recognition Method Based on Residual Masking Reconstruction Network", section 3.2. The
paper gives no weights; they are fields of `mien.config.LossConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import LossConfig
from mien.networks.outputs import Outputs

AUXILIARY = 0.3
"""Weight of each auxiliary head's cross-entropy (Szegedy et al., CVPR 2015, section 5)."""
LEAST = 1e-6
"""What probabilities are kept away from 0 and 1, so that logarithms stay finite."""


def target_distribution(
    targets: Tensor, num_classes: int, label_smoothing: float = 0.0, votes: Tensor | None = None, ferplus: float = 0.0
) -> Tensor:
    """The distribution over classes that the network should give.

    (1 - label_smoothing - ferplus) * one-hot + label_smoothing / K + ferplus * votes / sum of votes

    Args:
        targets: (N,) class ids.
        num_classes: K.
        label_smoothing: Share spread evenly (Szegedy et al., CVPR 2016, section 7).
        votes: (N, K) FER+ votes; a row without any leaves its share to the label.
        ferplus: Share of the votes.

    Returns:
        (N, K), each row sums to 1.
    """
    label = F.one_hot(targets, num_classes).float()
    distribution = (1 - label_smoothing - ferplus) * label + label_smoothing / num_classes
    if ferplus == 0 or votes is None:
        return distribution + ferplus * label
    total = votes.sum(dim=1, keepdim=True)
    return distribution + ferplus * torch.where(total > 0, votes / total.clamp(min=1), label)


def balanced_weights(targets: Tensor, num_classes: int) -> Tensor:
    """(N,) class ids -> (K,) weights N / (K * faces of the class), so that each class counts alike.

    A class without faces gets 1: it meets no target.
    """
    counts = torch.bincount(targets, minlength=num_classes).float()
    return torch.where(counts > 0, len(targets) / (num_classes * counts.clamp(min=1)), torch.ones_like(counts))


def cross_entropy(logits: Tensor, distribution: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean over the batch of -sum_k w_k t_k log softmax(logits)_k.

    Args:
        logits: (N, K).
        distribution: (N, K) targets t.
        class_weights: (K,) w; None is all ones. The mean divides by N, so that weights change what a class counts.
    """
    return F.cross_entropy(logits, distribution, weight=class_weights)


def reconstruction_loss(images: Tensor, reconstruction: Tensor) -> Tensor:
    """L_rec = ||p - p'||_1 (Eq. 3), as the mean absolute error a pixel, so that it does not grow with the image.

    Args:
        images: (N, C, H, W) p, values in [0, 1].
        reconstruction: (N, C, H, W) p', values in [0, 1]; or 3 channels where p has 1.
    """
    return (reconstruction - images).abs().mean()


def margin_loss_labels(logits: Tensor, distribution: Tensor) -> Tensor:
    """L_margin (Eq. 4), reading A: each class against the rest.

    -[p_i log e_i + (1 - p_i) log(1 - e_i)] with p_i the target and e_i the softmax probability of class i, the mean
    over classes and batch. Only this reading can come to the 0.02 of the paper's Fig. 5.

    Args:
        logits: (N, K).
        distribution: (N, K) targets p.
    """
    probabilities = logits.softmax(dim=1).clamp(LEAST, 1 - LEAST)
    return F.binary_cross_entropy(probabilities, distribution)


def margin_loss_mask(masks: tuple[Tensor, ...], images: Tensor) -> Tensor:
    """L_margin (Eq. 4), reading B: between a mask and the saliency it should match.

    p_i is the saliency of a place of the image and e_i the mask's mean over channels there; the mean over places,
    batch and stages. The minimum is the saliency's own entropy, above 0.

    Args:
        masks: (N, C, h, w) for each stage, values in [0, 1].
        images: (N, C, H, W), values in [0, 1].
    """
    whole = saliency(images)
    losses = []
    for mask in masks:
        weight = mask.float().mean(dim=1, keepdim=True).clamp(LEAST, 1 - LEAST)
        losses.append(
            F.binary_cross_entropy(weight, F.adaptive_avg_pool2d(whole, (weight.shape[-2], weight.shape[-1])))
        )
    return torch.stack(losses).mean()


def saliency(images: Tensor) -> Tensor:
    """How much of a face's drawing is at each place: the gradient's length over the image's largest.

    Brows, eyes, nose and mouth are where a face's gray changes. (N, C, H, W) in [0, 1] -> (N, 1, H, W) in [0, 1].
    """
    gray = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    dx = gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]
    dy = gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]
    length = (dx.square() + dy.square()).sqrt()
    return length / length.amax(dim=(2, 3), keepdim=True).clamp(min=LEAST)


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(teacher || softmax(logits / T)), the mean over the batch (Hinton, Vinyals and Dean, 2015, section 2).

    T^2 keeps its gradient as large as the labels' whatever T is. The teacher's own entropy, which no network can
    change, is taken off the paper's cross-entropy, so that 0 is a network that says what the teacher says.

    Args:
        logits: (N, K).
        teacher: (N, K) the teacher's probabilities at the same temperature.
        temperature: T, above 0.
    """
    said = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * F.kl_div(said, teacher, reduction="batchmean")


@dataclass(frozen=True)
class LossParts:
    """The weighted sum, to be minimised, and its parts before weighting, to be logged; scalars.

    The sum also holds the auxiliary heads' cross-entropy, where the network has such heads.
    """

    total: Tensor
    cross_entropy: Tensor
    reconstruction: Tensor
    margin: Tensor
    distillation: Tensor


def total_loss(
    outputs: Outputs,
    images: Tensor,
    distribution: Tensor,
    config: LossConfig,
    class_weights: Tensor | None = None,
    teacher: Tensor | None = None,
) -> LossParts:
    """The whole training loss.

    Args:
        outputs: Of a network in training mode.
        images: (N, C, H, W) that the network saw, values in [0, 1], before normalisation.
        distribution: (N, K) targets.
        config: Weights and readings. A part of weight 0, or one the network has no output for, is 0.
        class_weights: (K,), for the cross-entropy.
        teacher: (N, K) the teacher's probabilities at `config.temperature`; None where there is no teacher.
    """
    entropy = cross_entropy(outputs.logits, distribution, class_weights)
    zero = entropy.new_zeros(())
    reconstruction = margin = distillation = zero
    if config.reconstruction and outputs.reconstruction is not None:
        reconstruction = reconstruction_loss(images, outputs.reconstruction)
    if config.margin and config.margin_reading == "labels":
        margin = margin_loss_labels(outputs.logits, distribution)
    elif config.margin and outputs.masks:
        margin = margin_loss_mask(outputs.masks, images)
    fitted = entropy
    if teacher is not None:
        distillation = distillation_loss(outputs.logits, teacher, config.temperature)
        fitted = torch.lerp(entropy, distillation, config.distillation)
    total = fitted + config.reconstruction * reconstruction + config.margin * margin
    for logits in outputs.auxiliary_logits:
        total = total + AUXILIARY * cross_entropy(logits, distribution, class_weights)
    return LossParts(total, entropy, reconstruction, margin, distillation)
