from __future__ import annotations

import numpy as np
import pytest

from noah.data.dataset import Dataset
from noah.data.sources.drawn.rendered import RenderedSplit, rendered_dataset

DRAWN: list[int] = []


def render(number: int) -> np.ndarray:
    DRAWN.append(number)
    return np.full((2, 3), number % 256, np.uint8)


def dataset(numbers: np.ndarray) -> Dataset:
    return rendered_dataset("toy", ("a", "b"), numbers, numbers % 2, render, 3, ("About the images.",))


def test_the_split_is_800_200_and_1000_and_nothing_is_drawn_before_it_is_opened() -> None:
    DRAWN.clear()
    toy = dataset(np.arange(5000, 7000))
    test = toy.load_test()
    assert (len(toy.train), len(toy.validation), len(test), len(toy.full_train)) == (800, 200, 1000, 1000)
    assert (toy.train.name(0), toy.validation.name(0), test.name(999)) == ("toy/v3-5000", "toy/v3-5800", "toy/v3-6999")
    assert test.labels.tolist() == [0, 1] * 500 and toy.notes[0] == "About the images." and not DRAWN
    image = test.open(2)
    assert DRAWN == [6002] and image.mode == "RGB" and image.size == (3, 2)
    assert np.array_equal(np.asarray(image), np.full((2, 3, 3), 6002 % 256))


def test_an_image_may_appear_once() -> None:
    with pytest.raises(ValueError, match="2,000 different images, not 1999"):
        dataset(np.append(np.arange(1999), 0))
    with pytest.raises(ValueError, match="2,000 different images"):
        dataset(np.arange(2001))


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="3 images need labels int64"):
        RenderedSplit(np.arange(3), np.arange(2), render, 1, "toy")
    with pytest.raises(ValueError, match="not int32"):
        RenderedSplit(np.arange(3), np.arange(3, dtype=np.int32), render, 1, "toy")
