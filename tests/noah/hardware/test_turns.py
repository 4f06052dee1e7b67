"""Who runs when, by a clock that the runs themselves move; no test here bounds a time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.hardware.turns import seconds_in_turns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


@given(st.integers(1, 4), st.integers(0, 4), st.integers(1, 6))
def test_every_round_has_each_once_and_turns_the_order_round(count: int, warm_up: int, rounds: int) -> None:
    order: list[int] = []
    told: list[int] = []

    def is_enough(counted: int, seconds: float) -> bool:
        told.append(counted)
        return counted == rounds

    runs = [lambda index=index: order.append(index) for index in range(count)]
    found = seconds_in_turns(runs, warm_up=warm_up, is_enough=is_enough)
    assert [len(seconds) for seconds in found] == [rounds] * count
    assert told == [0] * warm_up + list(range(1, rounds + 1))
    passes = [order[start : start + count] for start in range(0, len(order), count)]
    assert len(passes) == warm_up + rounds
    for number, turn in enumerate(passes, -warm_up):
        assert turn == (list(range(count)) if number % 2 else list(reversed(range(count))))


def test_what_is_timed_is_the_run_until_the_device_has_settled(clock: list[float]) -> None:
    pending: list[float] = []

    def settle() -> None:
        clock[0] += sum(pending)
        pending.clear()

    def pass_time(seconds: float) -> None:
        clock[0] += seconds

    passed: list[float] = []

    def is_enough(counted: int, seconds: float) -> bool:
        passed.append(seconds)
        pending.append(64.0)  # what was given to the device before the next round is nobody's time
        return counted == 2

    runs = [lambda: pending.append(2.0), lambda: pass_time(3.0)]
    assert seconds_in_turns(runs, warm_up=1, is_enough=is_enough, settle=settle) == [[2.0, 2.0], [3.0, 3.0]]
    assert passed == [5.0, 74.0, 143.0]
