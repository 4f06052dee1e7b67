from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from noah.checks.suspicious_labels import suspicious_labels


def unique(count: int) -> np.ndarray:
    return np.arange(1, count + 1, dtype=np.uint64)


def test_labels_that_were_changed_are_found_and_few_others() -> None:
    """Of 600 digits, 12 with wrong labels; their pixels are the features."""
    digits = load_digits()
    features = digits.data[:600].astype(np.float32)
    labels = digits.target[:600].astype(np.int64)
    changed = np.random.default_rng(0).choice(600, 12, replace=False)
    wrong = labels.copy()
    wrong[changed] = (wrong[changed] + 5) % 10
    found = suspicious_labels(features, wrong, unique(600))
    hits = [entry for entry in found if entry.index in changed]
    assert len(hits) >= 10 and len(found) - len(hits) <= 6
    assert all((entry.label, entry.other) == (wrong[entry.index], labels[entry.index]) for entry in hits)
    shares = [entry.agreeing / entry.neighbors for entry in found]
    assert shares == sorted(shares, reverse=True) and min(shares) >= 0.8


def clusters(counts: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    places = np.concatenate(
        [rng.normal(center, 0.1, (count, 2)) for center, count in zip(([9, 0], [0, 9]), counts, strict=True)]
    )
    return places.astype(np.float32), np.repeat([0, 1], counts)


def test_copies_of_an_image_do_not_vote_for_it() -> None:
    features, labels = clusters((20, 20))
    copies = unique(40)
    features[:6], copies[:6] = features[25], 77  # six copies of one image, all labeled 0, among those of class 1
    found = suspicious_labels(features, labels, copies)
    assert {entry.index for entry in found} == set(range(6))
    assert {entry.other for entry in found} == {1}


@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_class_of_few_images_is_not_suspected(few: int) -> None:
    features, labels = clusters((few, 20))
    features[:few] = features[few : 2 * few] + 0.01
    assert not suspicious_labels(features, labels, unique(len(labels)))


def test_a_class_of_four_needs_three_neighbors() -> None:
    features, labels = clusters((4, 20))
    assert not suspicious_labels(features, labels, unique(24))
    features[0] = features[10]
    (found,) = suspicious_labels(features, labels, unique(24))
    assert (found.index, found.label, found.other, found.agreeing, found.neighbors) == (0, 0, 1, 3, 3)


def test_nothing_is_found_among_nothing() -> None:
    for count in (0, 1):
        assert suspicious_labels(np.ones((count, 3), np.float32), np.zeros(count, np.int64), unique(count)) == []
