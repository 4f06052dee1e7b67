"""Confidences and the reliability diagram, beside scikit-learn, SciPy and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from noah.evaluation.reliability import BINS, confidences, expected_calibration_error, reliability

logits_and_labels = st.tuples(st.integers(1, 60), st.integers(2, 7)).flatmap(
    lambda size: st.tuples(
        arrays(np.float32, size, elements=st.floats(-40, 40, width=32)),
        arrays(np.int64, size[0], elements=st.integers(0, size[1] - 1)),
    )
)


@given(logits_and_labels)
def test_confidences_are_the_largest_probabilities(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, _ = case
    found = confidences(logits)
    np.testing.assert_allclose(found, softmax(logits.astype(np.float64), axis=1).max(axis=1), rtol=1e-12)
    assert (found > 0).all() and (found <= 1).all()


@given(logits_and_labels)
def test_every_image_lies_in_one_bin(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    confidence, right = confidences(logits), logits.argmax(axis=1) == labels
    bins = reliability(confidence, right)
    assert sum(one.right.total for one in bins) == len(labels)
    assert sum(one.right.correct for one in bins) == right.sum()
    assert all(one.low - 1e-12 <= one.confidence <= one.high + 1e-12 for one in bins)
    assert [one.low for one in bins] == sorted({one.low for one in bins})


def test_the_error_is_that_of_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=500)
    logits = (2 * rng.normal(size=(500, 5)) + 2 * np.eye(5)[labels]).astype(np.float32)
    bins = reliability(confidences(logits), logits.argmax(axis=1) == labels)
    expected = multiclass_calibration_error(
        torch.from_numpy(logits).softmax(dim=1), torch.from_numpy(labels), num_classes=5, n_bins=BINS
    )
    assert expected_calibration_error(bins) == pytest.approx(float(expected), abs=1e-6)


def test_a_certain_image_lies_in_the_last_bin() -> None:
    (last,) = reliability(np.array([1.0]), np.array([True]))
    assert (last.low, last.high, last.right.share) == (pytest.approx(14 / 15), 1.0, 1.0)
