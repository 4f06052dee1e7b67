from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, top_k_accuracy_score
from torch import Tensor, nn

from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.evaluation.accuracy import Score
from noah.evaluation.score import compute_logits, describe, score
from noah.hardware.device import Hardware
from noah.progress import Detail

CPU = Hardware(torch.device("cpu"), "fp32", 1, ())
PREPROCESSING = Preprocessing(8, 8, "squash", 1.0, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))

logits_and_labels = st.tuples(st.integers(1, 40), st.integers(2, 8)).flatmap(
    lambda size: st.tuples(
        arrays(np.float32, size, elements=st.floats(-15, 15, width=32), unique=True),
        arrays(np.int64, size[0], elements=st.integers(0, size[1] - 1)),
    )
)


def random_logits(n: int, classes: int, scale: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)) * scale + 1.5 * scale * np.eye(classes)[labels]
    return logits.astype(np.float32), labels


def pixels_of(count: int) -> Pixels:
    rng = np.random.default_rng(1)
    images = rng.integers(256, size=(count, 8, 8, 3)).astype(np.uint8)
    return load_pixels(ArraySplit(images, rng.integers(4, size=count), "noise"), PREPROCESSING)


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error with equal bins (Guo et al., 2017)."""
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(hit[place == bin_].mean() - confidence[place == bin_].mean()) * (place == bin_).mean()
            for bin_ in np.unique(place)
        )
    )


@given(logits_and_labels)
def test_the_score_agrees_with_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = case
    found = score(logits, labels)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    assert found.accuracy == accuracy_score(labels, logits.argmax(axis=1))
    assert found.total == len(labels)
    expected = log_loss(labels, probabilities, labels=np.arange(logits.shape[1]))
    assert found.cross_entropy == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_standard_error_is_that_of_the_mean_of_hits(counts: tuple[int, int]) -> None:
    correct, total = counts
    found = Score(correct, total, 0.5)
    hits = np.arange(total) < correct
    assert found.accuracy == pytest.approx(hits.mean())
    assert found.standard_error == pytest.approx(hits.std() / np.sqrt(total), abs=1e-12)


def test_the_score_is_written_with_its_standard_error() -> None:
    found = Score(150, 200, 0.7)
    assert str(found) == "75.0% ± 3.1%"
    assert found.to_json() == {
        "correct": 150,
        "total": 200,
        "accuracy": 0.75,
        "standard_error": found.standard_error,
        "cross_entropy": 0.7,
    }


@pytest.mark.parametrize("classes", [3, 5, 6, 12])
def test_the_account_agrees_with_scikit_learn(classes: int) -> None:
    logits, labels = random_logits(200, classes)
    names = tuple(f"class {label}" for label in range(classes))
    account = describe(logits, labels, names)
    expected = confusion_matrix(labels, logits.argmax(axis=1), labels=np.arange(classes))
    assert account["confusions"] == [[*pair, count] for pair, count in np.ndenumerate(expected) if count]
    assert account["class_accuracy"] == pytest.approx(
        {name: expected[label, label] / expected[label].sum() for label, name in enumerate(names)}, abs=1e-6
    )
    assert {key: account[key] for key in score(logits, labels).to_json()} == score(logits, labels).to_json()
    assert ("top5_accuracy" in account) == (classes > 5)
    if classes > 5:
        best_five = top_k_accuracy_score(labels, logits, k=5, labels=np.arange(classes))
        assert account["top5_accuracy"] == pytest.approx(best_five, abs=1e-6)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    assert account["calibration_error"] == pytest.approx(calibration_error(probabilities, labels), abs=1e-4)


def test_small_logits_are_not_taken_for_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.random((100, 4)).astype(np.float32), rng.integers(4, size=100)
    expected = calibration_error(softmax(logits.astype(np.float64), axis=1), labels)
    assert describe(logits, labels, ("a", "b", "c", "d"))["calibration_error"] == pytest.approx(expected, abs=1e-4)


def test_a_class_without_images_has_no_accuracy() -> None:
    logits, labels = random_logits(20, 3)
    labels = np.where(labels == 1, 0, labels)
    accuracy = describe(logits, labels, ("a", "b", "c"))["class_accuracy"]
    assert accuracy["b"] is None
    assert None not in (accuracy["a"], accuracy["c"])


@pytest.fixture
def network(one_thread: None) -> Callable[[Tensor], Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(288, 4)).eval()


def test_logits_come_in_order_and_do_not_depend_on_the_batch_size(network: Callable[[Tensor], Tensor]) -> None:
    pixels = pixels_of(23)
    whole = compute_logits(network, pixels, PREPROCESSING, CPU, 23)
    images = torch.from_numpy(PREPROCESSING.normalize(pixels.batch(np.arange(23))))
    with torch.no_grad():
        np.testing.assert_array_equal(whole, network(images).numpy())
    for batch_size in (1, 2, 7, 22, 64):
        batches = compute_logits(network, pixels, PREPROCESSING, CPU, batch_size)
        assert (batches.dtype, batches.shape) == (np.float32, (23, 4))
        np.testing.assert_allclose(batches, whole, rtol=1e-5, atol=1e-5)


def test_the_bar_is_told_how_many_images_are_done(network: Callable[[Tensor], Tensor]) -> None:
    class Counting:
        done: list[int] = []  # noqa: RUF012  # one bar, one list

        def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
            self.done.append(done)

    compute_logits(network, pixels_of(10), PREPROCESSING, CPU, 4, Counting())
    assert Counting.done == [4, 8, 10]


def test_no_gradient_is_kept_and_low_precision_gives_float32(network: Callable[[Tensor], Tensor]) -> None:
    seen: list[Tensor] = []

    def watched(images: Tensor) -> Tensor:
        seen.append(network(images))
        return seen[-1]

    bf16 = compute_logits(watched, pixels_of(6), PREPROCESSING, Hardware(torch.device("cpu"), "bf16", 1, ()), 6)
    assert (seen[0].dtype, seen[0].requires_grad, bf16.dtype) == (torch.bfloat16, False, np.float32)
    np.testing.assert_allclose(bf16, compute_logits(network, pixels_of(6), PREPROCESSING, CPU, 6), atol=0.05)
