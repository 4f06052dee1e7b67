"""Times models in turns, and summarizes the durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.hardware.turns import seconds_in_turns

WARM_UP = 3
"""Rounds at the start that are not counted: memory is allocated and kernels are chosen in them."""
FEWEST, MOST = 10, 1000
"""The fewest and the most rounds that are counted, however long they take."""

Durations = NDArray[np.float64]
"""Seconds that each round took."""


@dataclass(frozen=True)
class Timing:
    """How long one model takes for a batch.

    Attributes:
        batch: Images in the batch.
        runs: Number of rounds.
        p50: Median seconds.
        p90: Seconds that 90 % of the rounds do not exceed.
        p99: Seconds that 99 % of the rounds do not exceed; the slowest if there were fewer than 100.
        throughput: Images per second over all rounds.
    """

    batch: int
    runs: int
    p50: float
    p90: float
    p99: float
    throughput: float


@dataclass(frozen=True)
class Ratio:
    """How many times as fast a model is as its reference: the median over the rounds, and the quartiles around it."""

    median: float
    low: float
    high: float


def time_in_turns(
    runs: Sequence[Callable[[], object]], seconds: float, progress: Callable[[float], None]
) -> list[Durations]:
    """Run everything once per round, in the opposite order in every other round.

    Args:
        runs: The functions to time, one at a time.
        seconds: Time after which to stop, warm-up included, if there have been at least `FEWEST` rounds.
        progress: Called with the share that is done, 0 to 1.

    Returns:
        The duration of each of `runs` in every round.
    """

    def is_enough(counted: int, passed: float) -> bool:
        if counted == MOST or (passed >= seconds and counted >= FEWEST):
            progress(1.0)
            return True
        progress(min(passed / seconds if seconds else 1.0, counted / FEWEST, 1.0))
        return False

    return [np.array(values) for values in seconds_in_turns(runs, warm_up=WARM_UP, is_enough=is_enough)]


def summarize(durations: Durations, batch: int) -> Timing:
    """Compute the percentiles and the throughput of a model's durations."""
    p50, p90, p99 = np.percentile(durations, (50, 90, 99), method="higher").tolist()
    return Timing(batch, len(durations), p50, p90, p99, batch * len(durations) / float(durations.sum()))


def speedup(durations: Durations, reference: Durations) -> Ratio:
    """Compute how many times as fast a model is as its reference, from the ratios of the rounds."""
    low, median, high = np.percentile(reference / durations, (25, 50, 75)).tolist()
    return Ratio(median, low, high)
