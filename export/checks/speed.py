"""Times models in turns, and says what is made of the durations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.hardware.turns import seconds_in_turns

WARM_UP = 3
"""Rounds that are not counted, in which memory is allocated and kernels are chosen."""
FEWEST, MOST = 10, 1000
"""Rounds that are counted, whatever time they take."""

Durations = NDArray[np.float64]
"""Seconds of each round."""


@dataclass(frozen=True)
class Timing:
    """How long one model takes for a batch.

    Attributes:
        batch: Images in the batch.
        runs: Number of rounds.
        p50: Seconds of the run in the middle.
        p90: Seconds that nine runs of ten keep to.
        p99: Seconds that 99 of 100 keep to; the slowest, where there were fewer.
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
    """How many times as fast as the reference: the median over the rounds, and the quartiles around it."""

    median: float
    low: float
    high: float


def time_in_turns(
    runs: Sequence[Callable[[], object]], seconds: float, progress: Callable[[float], None]
) -> list[Durations]:
    """Run everything once a round, every other round in the opposite order.

    Args:
        runs: What to time; each works alone.
        seconds: After how long to stop, if there are at least `FEWEST` rounds; the warm-up counts.
        progress: Told the share of it that is done, 0 to 1.

    Returns:
        For each of `runs` its duration in every round.
    """

    def is_enough(counted: int, passed: float) -> bool:
        if counted == MOST or (passed >= seconds and counted >= FEWEST):
            progress(1.0)
            return True
        progress(min(passed / seconds if seconds else 1.0, counted / FEWEST, 1.0))
        return False

    return [np.array(values) for values in seconds_in_turns(runs, warm_up=WARM_UP, is_enough=is_enough)]


def summarize(durations: Durations, batch: int) -> Timing:
    """The percentiles and the throughput of some durations."""
    p50, p90, p99 = np.percentile(durations, (50, 90, 99), method="higher").tolist()
    return Timing(batch, len(durations), p50, p90, p99, batch * len(durations) / float(durations.sum()))


def speedup(durations: Durations, reference: Durations) -> Ratio:
    """How many times as fast as the reference, round by round."""
    low, median, high = np.percentile(reference / durations, (25, 50, 75)).tolist()
    return Ratio(median, low, high)
