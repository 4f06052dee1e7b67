"""Who runs when, and what is made of the durations; no test here bounds a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from export.checks.speed import FEWEST, WARM_UP, speedup, summarize, time_in_turns

DURATIONS = arrays(np.float64, st.integers(1, 40), elements=st.floats(1e-6, 1e3))


def test_models_run_in_turns_and_each_order_is_reversed_by_the_next() -> None:
    order: list[str] = []
    shares: list[float] = []
    found = time_in_turns([lambda: order.append("a"), lambda: order.append("b")], 0, shares.append)
    rounds = ["".join(order[start : start + 2]) for start in range(0, len(order), 2)]
    assert len(rounds) == WARM_UP + FEWEST
    assert set(rounds[::2]) | set(rounds[1::2]) == {"ab", "ba"}
    assert len(set(rounds[::2])) == len(set(rounds[1::2])) == 1
    assert [len(durations) for durations in found] == [FEWEST, FEWEST]
    assert all((durations > 0).all() for durations in found)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_it_goes_on_until_the_time_is_over() -> None:
    (found,) = time_in_turns([lambda: None], 0.05, lambda _: None)
    assert len(found) > FEWEST


@given(DURATIONS, st.integers(1, 64))
def test_percentiles_are_durations_that_occurred(durations: np.ndarray, batch: int) -> None:
    timing = summarize(durations, batch)
    assert {timing.p50, timing.p90, timing.p99} <= set(durations.tolist())
    assert durations.min() <= timing.p50 <= timing.p90 <= timing.p99 <= durations.max()
    assert (durations <= timing.p90).mean() >= 0.9
    assert timing.throughput == pytest.approx(batch * len(durations) / durations.sum())
    assert (timing.batch, timing.runs) == (batch, len(durations))


@given(DURATIONS, st.floats(0.1, 10))
def test_what_takes_half_as_long_is_twice_as_fast(reference: np.ndarray, factor: float) -> None:
    ratio = speedup(reference / factor, reference)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((factor,) * 3)


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_the_times() -> None:
    """The machine is ten times as slow in half of the rounds, for both."""
    reference = np.array([1.0, 10, 1, 10, 1])
    ratio = speedup(reference / 2, reference)
    assert (ratio.low, ratio.median, ratio.high) == (2, 2, 2)
