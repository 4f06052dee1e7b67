from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from noah.data.augment.seeding import seeded
from tests.noah.global_random_state import global_state, set_global_state, unmoved_global_state

Draws = tuple[float, float, float]


def draw() -> Draws:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_what_is_drawn_depends_on_the_words_alone() -> None:
    found: dict[tuple[int, ...], Draws] = {}
    for number, words in enumerate([(0, 1), (1, 1), (0, 2), (0, 1, 1), (0, 1), (2**32 - 1, 1), (1, 1), (5,), (0, 5)]):
        set_global_state(number)
        with seeded(*words):
            drawn = draw()
        assert found.setdefault(words, drawn) == drawn
    assert len({value for drawn in found.values() for value in drawn}) == 3 * len(found)  # no two words share a number


def test_the_global_generators_go_on_as_if_nothing_had_been_drawn() -> None:
    set_global_state(3)
    expected = [draw() for _ in range(3)]
    set_global_state(3)
    found = [draw()]
    with seeded(1, 2):
        draw()
    found.append(draw())
    with seeded(3, 4), seeded(1, 2):
        random.gauss(), np.random.normal(), torch.randn(5)
    found.append(draw())
    assert found == expected


def test_they_are_put_back_after_an_error_too() -> None:
    set_global_state(0)
    with unmoved_global_state(), pytest.raises(ZeroDivisionError), seeded(1):
        before = global_state()
        draw()
        assert global_state() != before
        raise ZeroDivisionError
