"""A training that ends where guessing would is told, and no other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy
from torch import Tensor

from noah.settings.training_settings import SupernetSettings
from noah.training.divergence import doubt, guessing_loss, lower_learning_rate
from noah.training.loss import balanced_weights, cross_entropy


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_guessing_costs_the_entropy_of_the_shares(labels: list[int]) -> None:
    assert guessing_loss(np.array(labels)) == pytest.approx(entropy(np.bincount(labels)))


LABELS = np.arange(100) % 10


def of(loss: float, labels: NDArray[np.int64] = LABELS, weights: Tensor | None = None, **changes: Any) -> str:
    settings = SupernetSettings(epochs=20, learning_rate=0.002, **changes)
    return doubt("The supernet", loss, labels, "supernet", settings, weights)


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


UNEVEN = np.repeat([0, 1], [900, 100])


def test_a_weighted_loss_is_compared_with_weighted_guessing() -> None:
    balanced = balanced_weights(UNEVEN, 2)
    assert guessing_loss(UNEVEN) == pytest.approx(0.325, abs=1e-3)
    assert of(0.40, UNEVEN) != ""
    assert of(0.40, UNEVEN, balanced) == ""
    assert "that of guessing is 0.69" in of(0.693, UNEVEN, balanced)
    assert of(0.693, UNEVEN, torch.tensor([1.0, 9.0])) != ""  # only the ratio counts


def test_a_class_without_images_changes_nothing() -> None:
    of_two, of_three = (guessing_loss(UNEVEN, balanced_weights(UNEVEN, classes), 64) for classes in (2, 3))
    assert of_three == of_two


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.lists(st.floats(0.1, 10), min_size=4, max_size=4),
    st.integers(1, 70),
)
def test_weights_that_are_equal_count_as_none_and_one_batch_needs_no_order(
    drawn: list[int], weights: list[float], batch_size: int
) -> None:
    labels = np.array(drawn)
    assert guessing_loss(labels, torch.full((4,), weights[0]), batch_size) == pytest.approx(
        guessing_loss(labels), abs=1e-6
    )
    whole = np.bincount(labels, minlength=4) * np.array(weights)
    assert guessing_loss(labels, torch.tensor(weights), len(labels)) == pytest.approx(entropy(whole), abs=1e-5)


@pytest.mark.parametrize("batch_size", [4, 16, 64])
def test_no_single_prediction_does_better_in_training(batch_size: int) -> None:
    """Each batch divides by its own weights, so that small ones, which often lack the rare class, count for less."""
    balanced = balanced_weights(UNEVEN, 2)
    order = torch.from_numpy(np.random.default_rng(1).permutation(UNEVEN))

    def loss_of(rare: float) -> float:
        logits = torch.tensor([1 - rare, rare], dtype=torch.float32).log()
        batches = order.split(batch_size)
        losses = [cross_entropy(logits.expand(len(batch), 2), batch, balanced, 0.0).item() for batch in batches]
        return float(np.average(losses, weights=[len(batch) for batch in batches]))

    best = min(loss_of(rare) for rare in np.linspace(0.01, 0.99, 99))
    assert guessing_loss(UNEVEN, balanced, batch_size) == pytest.approx(best, rel=0.02)
