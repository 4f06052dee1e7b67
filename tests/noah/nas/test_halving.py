from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.nas.halving import Rung, plan_rungs


@pytest.mark.parametrize(
    ("entrants", "epochs", "rungs", "expected"),
    [
        (12, 8, 3, [(12, 2), (6, 4), (3, 8)]),
        (12, 8, 1, [(12, 8)]),
        (3, 8, 4, [(3, 4), (2, 8)]),
        (2, 8, 3, [(2, 8)]),
        (1, 8, 3, [(1, 8)]),
        (20, 2, 4, [(20, 1), (10, 2)]),
        (8, 1, 3, [(8, 1)]),
        (9, 7, 3, [(9, 1), (5, 3), (3, 7)]),
    ],
)
def test_rounds(entrants: int, epochs: int, rungs: int, expected: list[tuple[int, int]]) -> None:
    assert plan_rungs(entrants, epochs, rungs) == tuple(Rung(*each) for each in expected)


@given(st.integers(1, 100), st.integers(1, 200), st.integers(1, 8))
def test_every_round_is_longer_and_smaller_than_the_one_before(entrants: int, epochs: int, rungs: int) -> None:
    planned = plan_rungs(entrants, epochs, rungs)
    assert (planned[0].entrants, planned[-1].epochs) == (entrants, epochs)
    assert 1 <= len(planned) <= rungs
    for before, after in itertools.pairwise(planned):
        assert after.entrants == math.ceil(before.entrants / 2)
        assert after.epochs >= 2 * before.epochs >= 2
    assert entrants == 1 or planned[-1].entrants >= 2
