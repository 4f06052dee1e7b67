from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from noah.data.sources.digits import load_digits
from noah.data.sources.drawn.font_digits import draw_digit
from noah.data.split import Split


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([draw_digit(number) for number in range(1000)])


def handwritten(split: Split) -> np.ndarray:
    return np.stack([np.asarray(split.open(index).convert("L")) for index in range(len(split))])


def test_they_have_the_format_of_handwritten_ones(images: np.ndarray) -> None:
    others = handwritten(load_digits(seed=0, validation_fraction=0.2).full_train)
    assert images.dtype == np.uint8 and images.shape[1:] == others.shape[1:] == (8, 8)
    assert set(np.unique(images)) == set(np.unique(others)) and len(np.unique(images)) == 17
    assert images[:, 0].any(axis=1).all() and images[:, -1].any(axis=1).all()  # From top to bottom.
    assert abs(images.mean() - others.mean()) < 0.2 * others.mean()


def test_images_differ_and_depend_on_nothing_but_their_number(images: np.ndarray) -> None:
    assert len({pixels.tobytes() for pixels in images}) > 950  # At 8 x 8, a few look the same.
    for number in range(0, 1000, 50):
        assert np.array_equal(draw_digit(number), images[number])
    with pytest.raises(ValueError):
        draw_digit(-1)


def test_a_classifier_of_handwritten_ones_reads_many_of_them(images: np.ndarray) -> None:
    training = load_digits(seed=0, validation_fraction=0.2).full_train
    classifier = LogisticRegression(max_iter=300).fit(handwritten(training).reshape(-1, 64) / 255, training.labels)
    accuracy = classifier.score(images.reshape(-1, 64) / 255, np.arange(1000) % 10)
    assert 0.4 < accuracy < 0.9  # Chance is 0.1; the same classifier reads 0.97 of the handwritten ones.
