"""Steps that fit into the memory of the GPU: a batch that is too large for it is taken in smaller parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from noah.progress import counted
from noah.space.subnet import Subnet
from noah.training.step import Step, own_parts


@dataclass(slots=True)
class StepsWithinMemory:
    """The steps of a training, whose batches are taken in twice as many parts whenever memory runs out.

    The gradients of the parts add up to those of the batch, up to rounding; dropout is drawn anew for each part. What a
    training learns about memory, it keeps until its end; a resumed one learns it again.

    Attributes:
        step: What every step has in common.
        say: Told of each change.
    """

    step: Step
    say: Callable[[str], None]

    def add_gradients(self, inputs: Tensor, targets: Tensor, subnets: Sequence[Subnet]) -> Tensor:
        """Compute the gradients of a batch, as `Step.add_gradients` does, in place of any that the parameters have.

        Args:
            inputs: As there.
            targets: As there.
            subnets: As there.

        Returns:
            The loss, as there.

        Raises:
            torch.OutOfMemoryError: If memory has no room for a single image, or if several processes train together:
                those that had room would wait for the one that begins anew.
            ProcessError: If another process has stopped.
        """
        while True:
            self.step.supernet.zero_grad(set_to_none=True)
            try:
                return self.step.add_gradients(inputs, targets, subnets)
            except torch.OutOfMemoryError:
                parts = len(own_parts(len(targets), self.step.accumulation, self.step.hardware.processes))
                if self.step.hardware.processes.count > 1 or parts >= len(targets):
                    raise
            # Only now has the error let go of the tensors of the failed step.
            torch.cuda.empty_cache()
            self.step = replace(self.step, accumulation=2 * parts)
            of_batch = (
                f"batches of {counted(len(targets), 'images')} are taken in {self.step.accumulation} parts from now on"
            )
            self.say(f"memory    the GPU's is full; {of_batch}, with the same gradients up to rounding")
