"""What a training minimizes: the cross-entropy of a batch, its share in a part of the batch, and distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from noah.space.subnet import Subnet


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of a batch; labels that are mixed count as so many shares of images.

    A share t of class c in image i counts t w_c, and the sum over images and classes is divided by the sum of all t w_c
    before smoothing, so that labels given as rows with a single 1 have the same loss as the labels themselves.

    Args:
        logits: float32 (B, classes).
        targets: int64 (B), or float32 (B, classes) whose rows sum to 1.
        class_weights: The w_c, float32 (classes); all are 1 if None.
        label_smoothing: The share of each label that is spread over all classes.
    """
    if targets.dim() == 1 or class_weights is None:
        return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum")
    return total / _divisor(targets, class_weights)


def share_of_loss(part: Tensor, batch: Tensor, class_weights: Tensor | None) -> Tensor | float:
    """By what the mean of a part has to be multiplied so that the parts' products add up to the mean of the batch.

    Args:
        part: The targets of the part.
        batch: The targets of the whole batch.
        class_weights: As in `cross_entropy`.
    """
    if class_weights is None:
        return len(part) / len(batch)
    return _divisor(part, class_weights) / _divisor(batch, class_weights)


def balanced_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Class weights that make every class count the same in the loss: n / (classes with images x images of the class).

    A class without images weighs nothing, and the others weigh what they would if it were not there.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 0.0), dtype=torch.float32)


def _divisor(targets: Tensor, class_weights: Tensor) -> Tensor:
    return (class_weights[targets] if targets.dim() == 1 else targets @ class_weights).sum()


def add_gradients(
    forward: Callable[[Subnet], Tensor],
    subnets: Sequence[Subnet],
    label_loss: Callable[[Tensor], Tensor],
    backward: Callable[[Tensor], None],
    share: float = 1.0,
) -> Tensor:
    """Add up the gradients of all subnets of a step, one forward and one backward pass each.

    The loss of the first is that of the labels. Its softmax, through which no gradient flows, is what the others learn
    instead of the labels: their loss is the mean cross-entropy - sum over classes of softmax(first) log softmax(own)
    (Yu and Huang, 2019, "Universally slimmable networks and improved training techniques"). Class weights, smoothing
    and mixed labels reach them through the first subnet only. Each backward pass follows its forward pass at once, so
    the activations of one subnet are held at a time.

    Args:
        forward: Logits (B, classes) of the step's images through a subnet.
        subnets: At least one.
        label_loss: Loss of the first subnet's logits.
        backward: Adds the gradients of a loss to those of the parameters.
        share: By what the loss of the others is multiplied: the share of the step's images that these are.

    Returns:
        The loss of the first subnet, without a graph; not finite where the loss of any subnet is not.
    """
    first, *others = subnets
    logits = forward(first)
    loss = label_loss(logits)
    backward(loss)
    reported, predictions = loss.detach(), logits.detach().softmax(dim=1)
    for subnet in others:
        loss = F.cross_entropy(forward(subnet), predictions) * share
        backward(loss)
        reported = reported + 0 * loss.detach()
    return reported
