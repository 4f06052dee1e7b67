"""Times several things in turns, so that whatever slows the machine for a while slows all of them."""

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
    """Run everything once per round, in the opposite order in every other round.

    Args:
        runs: The things to time.
        warm_up: How many rounds come first without being counted, while memory is allocated and kernels are chosen.
        is_enough: Decides after every round whether to stop, given the number of counted rounds and the seconds that
            all rounds took, including the warm-up.
        settle: Waits until the device has finished its work, if it works asynchronously.

    Returns:
        For each of `runs`, its seconds in every counted round.
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
