"""How long single steps take: the first are warm-up, and slow ones are not repeated more often than they have to be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch

from noah.hardware.processes import ALONE, Processes
from noah.progress import Bar, Detail

WARM_UP = 2
"""Steps that are not counted, in which memory is allocated, kernels are chosen and processes start."""
TIMED = 5
"""Steps that are counted: their median stands even where one or two are disturbed."""
_SLOW = 2.0
"""Seconds of a first step from which on it is warm-up enough: a second one would cost more than it tells."""
_PATIENCE = 20.0
"""Seconds after which one counted step has to do."""


class StepTimer:
    """The bar of a training that times its steps, which begin where it is updated, and tells when it has enough.

    Args:
        device: What the steps run on.
        bar: Told the number of steps that are done.
        processes: Those that train together; the first says when they have enough.

    Attributes:
        durations: Seconds of each step so far.
        has_enough: Whether these tell how long further ones take.
    """

    def __init__(self, device: torch.device, bar: Bar, processes: Processes = ALONE) -> None:
        self.durations: list[float] = []
        self.has_enough = False
        self._device = device
        self._bar = bar
        self._processes = processes
        self._done = 0.0
        self._started = 0.0

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        """Take the time of the step that ended, if the training has come further."""
        wait(self._device)
        now = time.perf_counter()
        if done > self._done:
            self.durations.append(now - self._started)
            self._bar.update(len(self.durations))
            self.has_enough = self._processes.of_first(lambda: is_enough(self.durations))
        # Told twice at the same place, as around the set-up and between two epochs, the later time is the step's.
        self._done, self._started = done, now


def warm_up_steps(durations: Sequence[float]) -> int:
    """How many of the first steps are warm-up: two, one where the first took long, none where that drowns a warm-up."""
    if not durations or durations[0] < _SLOW:
        return WARM_UP
    return 1 if durations[0] < _PATIENCE else 0


def is_enough(durations: Sequence[float]) -> bool:
    """Whether steps of these seconds tell how long further ones take."""
    timed = len(durations) - warm_up_steps(durations)
    return timed >= TIMED or (timed >= 1 and sum(durations) >= _PATIENCE)


def typical_seconds(durations: Sequence[float]) -> float:
    """The median of the steps after the warm-up, of which there is at least one."""
    return median(durations[warm_up_steps(durations) :])


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
