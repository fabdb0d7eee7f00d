"""The training loss and its parts: cross-entropy, reconstruction, margin and distillation.

Shen and Li, "Facial Expression Recognition Method Based on Residual Masking Reconstruction Network", section 3.2. The
paper gives no weights; they are fields of `mien.config.LossConfig`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import LossConfig
from mien.networks.outputs import Outputs

AUXILIARY_WEIGHT = 0.3
"""Weight of each auxiliary head's cross-entropy (Szegedy et al., CVPR 2015, section 5)."""
EPSILON = 1e-6
"""Distance that probabilities keep from 0 and 1, so that logarithms stay finite."""


@dataclass(frozen=True)
class LossParts:
    """The training loss and its parts before weighting, scalars.

    The log's columns, the progress bar, TensorBoard's scalars and the loss figures are made from these fields. A new
    part is added here, in `total_loss` and, with its weight, in `mien.config.LossConfig`.

    Attributes:
        total: The weighted sum, to be minimised. It includes the auxiliary heads' cross-entropy.
        cross_entropy: Between logits and target distribution.
        reconstruction: L_rec (Eq. 3).
        margin: L_margin (Eq. 4).
        distillation: Between the logits of network and teacher.
    """

    total: Tensor
    cross_entropy: Tensor
    reconstruction: Tensor
    margin: Tensor
    distillation: Tensor


LOSS_COLUMNS = {
    field.name: "train_loss" if field.name == "total" else f"train_{field.name}" for field in fields(LossParts)
}
"""Field of `LossParts` -> column of the log."""


def target_distribution(
    targets: Tensor, num_classes: int, label_smoothing: float = 0.0, votes: Tensor | None = None, ferplus: float = 0.0
) -> Tensor:
    """Returns the distribution over classes that the network should predict.

    (1 - label_smoothing - ferplus) * one-hot + label_smoothing / K + ferplus * votes / sum of votes

    Args:
        targets: (N,) class ids.
        num_classes: K.
        label_smoothing: Fraction that is spread evenly over the classes (Szegedy et al., CVPR 2016, section 7).
        votes: (N, K) FER+ votes. For a row without votes the label replaces them.
        ferplus: Fraction that comes from the votes.

    Returns:
        (N, K), each row sums to 1.
    """
    label = F.one_hot(targets, num_classes).float()
    distribution = (1 - label_smoothing - ferplus) * label + label_smoothing / num_classes
    if ferplus == 0 or votes is None:
        return distribution + ferplus * label
    total = votes.sum(dim=1, keepdim=True)
    return distribution + ferplus * torch.where(total > 0, votes / total.clamp(min=1), label)


def balanced_class_weights(targets: Tensor, num_classes: int) -> Tensor:
    """Returns the class weights N / (K * faces of the class), with which all classes have the same influence.

    Args:
        targets: (N,) class ids.
        num_classes: K.

    Returns:
        (K,); 1 for a class without faces, which is never a target.
    """
    counts = torch.bincount(targets, minlength=num_classes).float()
    return torch.where(counts > 0, len(targets) / (num_classes * counts.clamp(min=1)), torch.ones_like(counts))


def cross_entropy(logits: Tensor, distribution: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Returns the mean over the batch of -sum_k w_k t_k log softmax(logits)_k.

    Args:
        logits: (N, K).
        distribution: (N, K) targets t.
        class_weights: (K,) w; None means all ones. The sum is divided by N, not by the sum of the weights.
    """
    return F.cross_entropy(logits, distribution, weight=class_weights)


def reconstruction_loss(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Returns L_rec = ||p - p'||_1 (Eq. 3), averaged over pixels so that it does not depend on the image's size.

    Args:
        images: (N, C, H, W) p, values in [0, 1].
        reconstruction: (N, C, H, W) p', values in [0, 1]; 3 channels are allowed where p has 1.
    """
    return (reconstruction - images).abs().mean()


def margin_loss_labels(logits: Tensor, distribution: Tensor) -> Tensor:
    """Returns L_margin (Eq. 4) between targets and predictions, each class against the rest.

    -[p_i log e_i + (1 - p_i) log(1 - e_i)], averaged over classes and batch, with p_i the target and e_i the softmax
    probability of class i. Only this reading of the equation can reach the value of 0.02 in the paper's Fig. 5.

    Args:
        logits: (N, K).
        distribution: (N, K) targets p.
    """
    probabilities = logits.softmax(dim=1).clamp(EPSILON, 1 - EPSILON)
    return F.binary_cross_entropy(probabilities, distribution)


def margin_loss_mask(masks: tuple[Tensor, ...], images: Tensor) -> Tensor:
    """Returns L_margin (Eq. 4) between the image's saliency and the masks.

    The same formula, averaged over positions, batch and stages, with p_i the saliency at a position and e_i the mask's
    mean over channels there. The minimum is the entropy of the saliency, which is above 0.

    Args:
        masks: (N, C, h, w) for each stage, values in [0, 1].
        images: (N, C, H, W), values in [0, 1].
    """
    full_size = saliency(images)
    losses = []
    for mask in masks:
        weight = mask.float().mean(dim=1, keepdim=True).clamp(EPSILON, 1 - EPSILON)
        target = F.adaptive_avg_pool2d(full_size, (weight.shape[-2], weight.shape[-1]))
        losses.append(F.binary_cross_entropy(weight, target))
    return torch.stack(losses).mean()


def saliency(images: Tensor) -> Tensor:
    """Returns the magnitude of the gradient, divided by its maximum in each image.

    It is high at brows, eyes, nose and mouth, where the gray value changes.

    Args:
        images: (N, C, H, W), values in [0, 1].

    Returns:
        (N, 1, H, W), values in [0, 1].
    """
    gray = F.pad(images.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    dx = gray[..., 1:-1, 2:] - gray[..., 1:-1, :-2]
    dy = gray[..., 2:, 1:-1] - gray[..., :-2, 1:-1]
    magnitude = (dx.square() + dy.square()).sqrt()
    return magnitude / magnitude.amax(dim=(2, 3), keepdim=True).clamp(min=EPSILON)


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Returns T^2 * KL(teacher || softmax(logits / T)), averaged over the batch.

    Hinton, Vinyals and Dean, 2015, section 2. The factor T^2 makes the size of the gradient independent of T. Unlike
    the paper's cross-entropy, the divergence does not include the teacher's entropy, a constant, so the loss is 0 if
    the network predicts exactly what the teacher predicts.

    Args:
        logits: (N, K).
        teacher: (N, K) the teacher's probabilities at the same temperature.
        temperature: T, above 0.
    """
    log_probabilities = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * F.kl_div(log_probabilities, teacher, reduction="batchmean")


def total_loss(
    outputs: Outputs,
    images: Tensor,
    distribution: Tensor,
    config: LossConfig,
    class_weights: Tensor | None = None,
    teacher: Tensor | None = None,
) -> LossParts:
    """Returns the training loss and its parts.

    (1 - distillation) * cross-entropy + distillation * L_distillation + reconstruction * L_rec + margin * L_margin

    Args:
        outputs: Outputs of a network in training mode.
        images: (N, C, H, W) input of the network before normalisation, values in [0, 1].
        distribution: (N, K) targets.
        config: Weights and options. A part is 0 if its weight is 0 or the network lacks the output.
        class_weights: (K,) weights of the cross-entropy.
        teacher: (N, K) the teacher's probabilities at `config.temperature`, or None.
    """
    entropy = cross_entropy(outputs.logits, distribution, class_weights)
    reconstruction = margin = distillation = entropy.new_zeros(())
    if config.reconstruction and outputs.reconstruction is not None:
        reconstruction = reconstruction_loss(images, outputs.reconstruction)
    if config.margin and config.margin_reading == "labels":
        margin = margin_loss_labels(outputs.logits, distribution)
    elif config.margin and outputs.masks:
        margin = margin_loss_mask(outputs.masks, images)
    total = entropy
    if teacher is not None:
        distillation = distillation_loss(outputs.logits, teacher, config.temperature)
        total = torch.lerp(entropy, distillation, config.distillation)
    total = total + config.reconstruction * reconstruction + config.margin * margin
    for logits in outputs.auxiliary_logits:
        total = total + AUXILIARY_WEIGHT * cross_entropy(logits, distribution, class_weights)
    return LossParts(total, entropy, reconstruction, margin, distillation)
