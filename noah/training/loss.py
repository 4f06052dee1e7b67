"""What a training minimizes: the cross-entropy of a batch, its share in a part of the batch, and distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from noah.space.subnet import Subnet


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Compute the mean cross-entropy of a batch; a mixed label counts as shares of an image.

    A share t of class c in image i counts t w_c, and the sum over images and classes is divided by the sum of all t w_c
    before smoothing. Labels given as rows with a single 1 therefore have the same loss as the labels themselves.

    Args:
        logits: float32, (B, classes).
        targets: int64, (B), or float32, (B, classes), whose rows sum to 1.
        class_weights: The weights w_c, float32, (classes); all are 1 if None.
        label_smoothing: The share of each label that is spread over all classes.
    """
    if targets.dim() == 1 or class_weights is None:
        return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum")
    return total / _divisor(targets, class_weights)


def share_of_loss(part: Tensor, batch: Tensor, class_weights: Tensor | None) -> Tensor | float:
    """The factor by which to multiply the mean of a part, so that the parts add up to the mean of the batch.

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

    A class without images has the weight 0, and does not change the weights of the others.
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

    The first subnet learns the labels. The others learn its softmax instead, through which no gradient flows: their
    loss is the mean cross-entropy - sum over classes of softmax(first) log softmax(own) (Yu and Huang, 2019,
    "Universally slimmable networks and improved training techniques"). Class weights, smoothing and mixed labels reach
    them only through the first subnet. Each backward pass follows its forward pass at once, so only the activations of
    one subnet are in memory at a time.

    Args:
        forward: Computes logits (B, classes) of the step's images with a subnet.
        subnets: At least one subnet.
        label_loss: Computes the loss of the first subnet's logits.
        backward: Adds the gradients of a loss to those of the parameters.
        share: The share of the step's images that these are, by which the loss of the others is multiplied.

    Returns:
        The loss of the first subnet, without a graph; it is not finite if the loss of any subnet is not.
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
