"""A training that ends where guessing would is told, and no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from noah.learnt import doubt, guessing_loss


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_guessing_costs_the_entropy_of_the_shares(labels: list[int]) -> None:
    assert guessing_loss(np.array(labels)) == pytest.approx(entropy(np.bincount(labels)))


def test_only_a_loss_like_that_of_guessing_is_told() -> None:
    labels = np.arange(100) % 10
    found = doubt("The supernet", 2.303, labels, "supernet", "0.0007")
    assert found.startswith(
        "The supernet has hardly learnt: its loss is 2.303 at the end, and that of guessing is 2.303."
    )
    assert "--set supernet.learning_rate=0.0007" in found
    assert doubt("The supernet", 0.9 * math.log(10), labels, "supernet", "0.0007") == ""


def test_one_class_cannot_be_guessed_wrong() -> None:
    assert doubt("The subnet", 0.1, np.zeros(5, np.int64), "retrain", "0.1") == ""
