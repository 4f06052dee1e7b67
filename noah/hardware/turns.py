"""Times several things in turns, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


def seconds_in_turns(
    runs: Sequence[Callable[[], object]],
    *,
    warm_up: int,
    is_enough: Callable[[int, float], bool],
    settle: Callable[[], object] = lambda: None,
) -> list[list[float]]:
    """Run everything once a round, every other round in the opposite order.

    Args:
        runs: What to time.
        warm_up: Rounds before those that count, in which memory is allocated and kernels are chosen.
        is_enough: Told after every round how many have counted, and the seconds that all of them took, the warm-up
            included; whether to stop.
        settle: Waits until the device has done what it was given, where it works on its own.

    Returns:
        For each of `runs` its seconds in every round that counts.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    began = time.perf_counter()
    number = -warm_up
    while True:
        for index in range(len(runs)) if number % 2 else reversed(range(len(runs))):
            settle()
            started = time.perf_counter()
            runs[index]()
            settle()
            ended = time.perf_counter()
            if number >= 0:
                seconds[index].append(ended - started)
        number += 1
        if is_enough(max(number, 0), time.perf_counter() - began):
            return seconds
