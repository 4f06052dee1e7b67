"""An exponential average of the trained weights over the last steps, which takes their place when training ends."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from noah.errors import RunError
from noah.model.supernet import Supernet


class AveragedWeights:
    """The average of modules and head, w <- w + (v - w) (1 - d), after every step that leaves the weights v.

    The decay d is 1 - 1 / `steps`, so that the average reaches back about so many steps; at first it is (1 + t) /
    (10 + t) after t steps, if that is less, so that the start is soon forgotten. It costs nothing at inference.

    Args:
        supernet: The supernet being trained.
        steps: How many steps the average reaches back, at least 1.
    """

    def __init__(self, supernet: Supernet, steps: float) -> None:
        self._decay = 1 - 1 / max(steps, 1.0)
        self._weights = [value for value in supernet.parameters() if value.requires_grad and value.numel()]
        self._names = [n for n, value in supernet.named_parameters() if value.requires_grad and value.numel()]
        self._averages = [value.detach().clone() for value in self._weights]

    @torch.no_grad()
    def update(self, taken: int) -> None:
        """Take in the weights after one more step; `taken` is the number of steps before it."""
        decay = min(self._decay, (1 + taken) / (10 + taken))
        torch._foreach_lerp_(self._averages, [value.detach() for value in self._weights], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averages by the names of the weights."""
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave.

        Raises:
            RunError: If it is of another supernet.
        """
        expected = {name: value.shape for name, value in self.state().items()}
        if {name: value.shape for name, value in state.items()} != expected:
            raise RunError(
                "The checkpoint does not fit this run's modules: its averaged weights are others.",
                "It belongs to another run; start a new one with `noah search`.",
            )
        for name, average in self.state().items():
            average.copy_(state[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Give the averages to the supernet."""
        for weight, average in zip(self._weights, self._averages, strict=True):
            weight.copy_(average)
