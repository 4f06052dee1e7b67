"""Times models in turns, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    durations: list[list[float]] = [[] for _ in runs]
    began = time.perf_counter()
    for number in range(-WARM_UP, MOST):
        order = range(len(runs)) if number % 2 else range(len(runs) - 1, -1, -1)
        for index in order:
            started = time.perf_counter()
            runs[index]()
            ended = time.perf_counter()
            if number >= 0:
                durations[index].append(ended - started)
        passed, counted = time.perf_counter() - began, number + 1
        if passed >= seconds and counted >= FEWEST:
            break
        progress(min(passed / seconds if seconds else 1.0, max(counted, 0) / FEWEST, 1.0))
    progress(1.0)
    return [np.array(values) for values in durations]


def summarize(durations: Durations, batch: int) -> Timing:
    """The percentiles and the throughput of some durations."""
    p50, p90, p99 = np.percentile(durations, (50, 90, 99), method="higher").tolist()
    return Timing(batch, len(durations), p50, p90, p99, batch * len(durations) / float(durations.sum()))


def compare(durations: Durations, reference: Durations) -> Ratio:
    """How many times as fast as the reference, round by round."""
    low, median, high = np.percentile(reference / durations, (25, 50, 75)).tolist()
    return Ratio(median, low, high)
