"""How long single steps take: the first ones are warm-up, and slow steps are not repeated more often than needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import torch

from noah.hardware.processes import ALONE, Processes
from noah.progress import Bar, Detail

WARM_UP = 2
"""How many steps are not counted, while memory is allocated, kernels are chosen and processes start."""
TIMED = 5
"""How many steps are counted: their median holds even if one or two are disturbed."""
_SLOW = 2.0
"""If the first step takes this many seconds, it is enough as a warm-up: a second one would not be worth its time."""
_PATIENCE = 20.0
"""After this many seconds, a single counted step is enough."""


class StepTimer:
    """The bar of a training that times its steps, which begin at each update, and says when it has timed enough.

    Args:
        device: The device that the steps run on.
        bar: Updated with the number of steps done.
        processes: The processes that train together; the first decides when they have timed enough.

    Attributes:
        durations: The seconds of each step so far.
        has_enough: Whether enough steps were timed to know how long further ones take.
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
        """Record the time of the step that has ended, if the training has made progress."""
        wait(self._device)
        now = time.perf_counter()
        if done > self._done:
            self.durations.append(now - self._started)
            self._bar.update(len(self.durations))
            self.has_enough = self._processes.of_first(lambda: is_enough(self.durations))
        # If updated twice at the same point, as before the first step and between epochs, the later time counts.
        self._done, self._started = done, now


def warm_up_steps(durations: Sequence[float]) -> int:
    """How many of the first steps are warm-up: two, or one if the first took long, or none if it took very long."""
    if not durations or durations[0] < _SLOW:
        return WARM_UP
    return 1 if durations[0] < _PATIENCE else 0


def is_enough(durations: Sequence[float]) -> bool:
    """Whether these steps are enough to know how long further ones take."""
    timed = len(durations) - warm_up_steps(durations)
    return timed >= TIMED or (timed >= 1 and sum(durations) >= _PATIENCE)


def typical_seconds(durations: Sequence[float]) -> float:
    """The median time of the steps after the warm-up; there has to be at least one."""
    return median(durations[warm_up_steps(durations) :])


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
