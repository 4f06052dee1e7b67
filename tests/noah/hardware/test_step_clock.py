from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noah.hardware.step_clock import (
    TIMED,
    WARM_UP,
    StepTimer,
    is_enough,
    typical_seconds,
    warm_up_steps,
)
from tests.noah.tiny_run import Recorder

CPU = torch.device("cpu")


@given(st.lists(st.floats(0, 1.9), max_size=20))
def test_quick_steps_are_repeated_and_the_first_two_are_left_out(durations: list[float]) -> None:
    assert warm_up_steps(durations) == WARM_UP
    if sum(durations) < 20:
        assert is_enough(durations) == (len(durations) >= WARM_UP + TIMED)


@pytest.mark.parametrize(
    ("durations", "enough"),
    [([50.0], True), ([3.0], False), ([3.0, 3.0], False), ([3.0, 9.0, 9.0], True), ([1.0, 30.0], False)],
)
def test_slow_steps_are_not_repeated_for_long(durations: list[float], enough: bool) -> None:
    assert is_enough(durations) == enough


def test_the_typical_step_is_the_median_after_the_warm_up() -> None:
    assert typical_seconds([1.5, 0.5, 0.1, 0.2, 0.9, 0.2, 0.2]) == 0.2
    assert typical_seconds([12.0, 10.0]) == 10.0
    assert typical_seconds([60.0]) == 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its one value is changed."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def test_a_training_is_timed_by_where_its_steps_begin_until_that_is_enough(clock: list[float]) -> None:
    """Three steps an epoch, told as `train` tells them; the checkpoint between two epochs belongs to the step."""
    recorder = Recorder()
    told = [0, 0, 1 / 3, 2 / 3, 1, 1, 4 / 3, 5 / 3, 2, 2, 7 / 3]
    pauses = [7.0, 0.5, 0.25, 0.25, 0.75, 0.0, 0.5, 0.25, 0.5, 0.0, 0.125]  # before each; the first is set-up
    with recorder.bar("timing", 7, "steps") as bar:
        timer = StepTimer(CPU, bar)
        for done, pause in zip(told[:-1], pauses[:-1], strict=True):
            clock[0] += pause
            timer.update(done)
            assert not timer.has_enough
        clock[0] += pauses[-1]
        timer.update(told[-1])
        assert timer.has_enough
    assert timer.durations == [0.25, 0.25, 0.75, 0.5, 0.25, 0.5, 0.125]
    assert recorder.bars["timing"] == [1, 2, 3, 4, 5, 6, 7]
    assert typical_seconds(timer.durations) == 0.5
