"""The gradients of one step: those of the whole batch, however it is divided among parts and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from noah.hardware.device import Hardware
from noah.hardware.processes import Processes
from noah.model.compiled import CompiledForward
from noah.model.kinds.module import output_of
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from noah.training.loss import add_gradients, cross_entropy, share_of_loss


@dataclass(frozen=True, slots=True)
class Step:
    """What every step of a training has in common.

    Each part's loss is weighted by its share of the batch, so the gradients of the parts add up to those of the whole
    batch, up to rounding, even if parts differ in size or classes have weights. Dropout, stochastic depth and the
    prompts' dropout mask are drawn for each part.

    Attributes:
        supernet: The supernet being trained.
        hardware: Gives device, precision and processes.
        accumulation: How many parts of the batch a process takes, one after another.
        class_weights: The weight of each class in the loss, (classes), on the device.
        label_smoothing: The share of each label that is spread over all classes.
        compiled: The supernet with compiled blocks, if these are to be used.
        first: The first block to compute: 0 for images; otherwise the inputs are tokens behind the blocks before it.
    """

    supernet: Supernet
    hardware: Hardware
    accumulation: int = 1
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    compiled: CompiledForward | None = None
    first: int = 0

    def add_gradients(self, inputs: Tensor, targets: Tensor, subnets: Sequence[Subnet]) -> Tensor:
        """Add the gradients of a batch to those of the parameters; they are the same in every process.

        Args:
            inputs: This process's share of the batch (`noah.training.step.own_share`): normalized images
                (b, 3, H, W), or tokens (b, N, D).
            targets: The targets of the whole batch, int64, (B), or float32, (B, classes).
            subnets: The subnets of the step; the first learns the labels, the others learn from the first.

        Returns:
            This process's part of the first subnet's loss, without a graph; the parts of all processes add up to the
            loss of the batch. It is not finite if the loss of any subnet is not.

        Raises:
            ProcessError: If another process has stopped.
        """
        processes = self.hardware.processes
        loss = torch.zeros((), device=inputs.device)
        parts = own_parts(len(targets), self.accumulation, processes)
        for part in parts:
            first = parts[0].start
            own = inputs[part.start - first : part.stop - first]
            label_loss = partial(
                self._label_loss, targets=targets[part], share=share_of_loss(targets[part], targets, self.class_weights)
            )
            forward = partial(self._forward, own)
            loss = loss + add_gradients(forward, subnets, label_loss, torch.Tensor.backward, len(own) / len(targets))
        if self.compiled is not None:
            self.compiled.drop_gradients_of_unused(subnets)
        self._add_up(someone_has_none=len(targets) < processes.count)
        return loss

    def _forward(self, inputs: Tensor, subnet: Subnet) -> Tensor:
        with self.hardware.autocast():
            logits = output_of(self.compiled or self.supernet, inputs, subnet, self.first)
        return logits.float()

    def _label_loss(self, logits: Tensor, *, targets: Tensor, share: Tensor | float) -> Tensor:
        return cross_entropy(logits, targets, self.class_weights, self.label_smoothing) * share

    def _add_up(self, *, someone_has_none: bool) -> None:
        """Add up the gradients of all processes; a parameter that has no gradient in any of them still has none.

        All processes train the same subnets, so they have gradients for the same parameters, except for a process that
        gets no image of a small last batch.
        """
        processes = self.hardware.processes
        if processes.count == 1:
            return
        trained = [parameter for parameter in self.supernet.parameters() if parameter.requires_grad]
        if someone_has_none:
            has = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.float32)
            processes.add_up([has])
            trained = [parameter for parameter, number in zip(trained, has.tolist(), strict=True) if number]
            for parameter in trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        processes.add_up([parameter.grad for parameter in trained if parameter.grad is not None])


def own_parts(count: int, accumulation: int, processes: Processes) -> list[slice]:
    """The parts of a batch that this process takes, one after another.

    Args:
        count: The number of images in the batch.
        accumulation: The number of parts for each process.
        processes: The processes that share the batch; their numbers of images differ by at most one per part.

    Returns:
        `accumulation` parts, or fewer if there are too few images; none is empty.
    """
    parts = processes.count * accumulation
    edges = [part * count // parts for part in range(processes.rank * accumulation, parts + 1)][: accumulation + 1]
    return [slice(start, end) for start, end in pairwise(edges) if end > start]


def own_share(count: int, processes: Processes) -> slice:
    """The images of a batch that this process takes, all parts together."""
    return next(iter(own_parts(count, 1, processes)), slice(0, 0))
