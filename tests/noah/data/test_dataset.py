from __future__ import annotations

import numpy as np

from noah.data.dataset import Dataset, class_counts, imbalance_note
from noah.data.split import ArraySplit


def blank(labels: list[int], prefix: str) -> ArraySplit:
    return ArraySplit(np.zeros((len(labels), 2, 2), np.uint8), np.array(labels, np.int64), prefix)


def test_full_train_is_training_then_validation() -> None:
    train, validation = blank([0, 1], "train"), blank([1], "validation")
    dataset = Dataset("toy", ("a", "b"), train, validation, lambda: blank([0], "test"), ())
    assert [dataset.full_train.name(index) for index in range(3)] == ["train/0", "train/1", "validation/0"]
    assert dataset.full_train.labels.tolist() == [0, 1, 1]


def test_class_counts_follow_the_labels_and_show_empty_classes() -> None:
    assert list(class_counts(blank([2, 0, 2], "x"), ("z", "y", "a")).items()) == [("z", 1), ("y", 0), ("a", 2)]


def test_imbalance_is_noted_from_ten_times_up() -> None:
    assert imbalance_note({"a": 9, "b": 1, "c": 0}) is None
    note = imbalance_note({"cat": 1200, "dog": 120, "owl": 500, "none": 0})
    assert note is not None
    assert "cat has 1,200 images and dog 120" in note and "--class-weights balanced" in note
    assert imbalance_note({"a": 0}) is None and imbalance_note({}) is None
