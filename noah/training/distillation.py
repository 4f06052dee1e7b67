"""One step of several subnets: the first learns the labels, the others learn from the first, in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional as F

from noah.space.subnet import Subnet


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
