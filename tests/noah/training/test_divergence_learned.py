"""A training that ends where guessing would is told, and no other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from noah.settings.training_settings import SupernetSettings
from noah.training.divergence import doubt, guessing_loss, lower_learning_rate


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_guessing_costs_the_entropy_of_the_shares(labels: list[int]) -> None:
    assert guessing_loss(np.array(labels)) == pytest.approx(entropy(np.bincount(labels)))


LABELS = np.arange(100) % 10


def of(loss: float, labels: NDArray[np.int64] = LABELS, **changes: Any) -> str:
    return doubt("The supernet", loss, labels, "supernet", SupernetSettings(epochs=20, learning_rate=0.002, **changes))


def test_only_a_loss_like_that_of_guessing_is_told() -> None:
    assert "The supernet has hardly learned: its loss is 2.303 at the end, and that of guessing is 2.303." in of(2.303)
    assert f"--set supernet.learning_rate={lower_learning_rate(0.002)}" in of(2.303)
    assert of(0.97 * math.log(10)) == ""


@pytest.mark.parametrize(
    "changes", [{"label_smoothing": 0.1}, {"augmentation": {"mixup": 0.8}}, {"augmentation": {"cutmix": 1.0}}]
)
def test_where_labels_are_vague_a_high_loss_says_nothing(changes: dict[str, Any]) -> None:
    assert of(2.303, **changes) == ""


def test_one_class_cannot_be_guessed_wrong() -> None:
    assert of(0.1, np.zeros(5, np.int64)) == ""
