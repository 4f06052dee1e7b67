"""A dataset: its classes, its three splits, and the choices that were made automatically."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from noah.data.split import Split, concatenate

IMBALANCE = 10
"""How many times the largest class must outnumber the smallest to be worth a note."""


@dataclass(frozen=True)
class Dataset:
    """Images with labels 0..len(classes)-1, in three splits.

    Attributes:
        name: A short name that can be part of a folder's name.
        classes: The name of each label.
        train: The training set; the supernet is trained on it.
        validation: The validation set; the search scores subnets on it.
        load_test: Loads the test set; none of its images is read or listed before. Raises `DataError` if there is none.
        notes: One sentence for each automatic choice, with its reason.
        retrain: What the winner is trained on; None means the training and validation sets together.
        test_is_drawn: Whether the test images are drawn from the same images as the others, so that `load_test` lists
            nothing.
        seen: The names of training and validation images that the weights which training starts from have learned
            from, as those of an earlier run have (`noah.prepare.earlier`).
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    load_test: Callable[[], Split]
    notes: tuple[str, ...]
    retrain: Split | None = None
    test_is_drawn: bool = False
    seen: frozenset[str] = frozenset()

    @cached_property
    def full_train(self) -> Split:
        """The images for the last training before the test."""
        return concatenate(self.train, self.validation) if self.retrain is None else self.retrain


def class_counts(split: Split, classes: tuple[str, ...]) -> dict[str, int]:
    """How many images each class has, in the order of the labels."""
    return dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))


def untrained_note(train: Split, classes: tuple[str, ...]) -> str | None:
    """A warning if any class has no training image, else None."""
    missing = [name for name, count in class_counts(train, classes).items() if not count]
    if not missing:
        return None
    names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return f"WARNING: {len(missing)} of {len(classes)} classes have no training image and cannot be learned: {names}."


def imbalance_note(counts: Mapping[str, int]) -> str | None:
    """A note if one class has at least ten times the images of another, else None; empty classes do not count."""
    present = {name: count for name, count in counts.items() if count}
    if not present:
        return None
    largest, smallest = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    if present[largest] < IMBALANCE * present[smallest]:
        return None
    return (
        f"The classes are uneven: {largest} has {present[largest]:,} images and {smallest} {present[smallest]:,}; "
        "--class-weights balanced makes each class count the same in training."
    )
