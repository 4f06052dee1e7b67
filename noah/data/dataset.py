"""A dataset: its classes, its three splits and what was chosen on the way."""

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
    """Images with labels 0..len(classes)-1, split in three.

    Attributes:
        name: Short, fit for a folder name.
        classes: The name of each label.
        train: What the supernet is trained on.
        validation: What the search scores subnets on.
        load_test: Gives the test split; nothing of it is read or listed before this is called. Raises `DataError` where
            there is none.
        notes: Each automatic choice with its reason, one sentence each.
        retrain: What the winner is trained on; training and validation images together where it is None.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    load_test: Callable[[], Split]
    notes: tuple[str, ...]
    retrain: Split | None = None

    @cached_property
    def full_train(self) -> Split:
        """What the last training before the test uses."""
        return concatenate(self.train, self.validation) if self.retrain is None else self.retrain


def class_counts(split: Split, classes: tuple[str, ...]) -> dict[str, int]:
    """How many images each class has, in the order of the labels."""
    return dict(zip(classes, np.bincount(split.labels, minlength=len(classes)).tolist(), strict=True))


def untrained_note(train: Split, classes: tuple[str, ...]) -> str | None:
    """A sentence where classes have no training image, else None."""
    missing = [name for name, count in class_counts(train, classes).items() if not count]
    if not missing:
        return None
    names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return f"WARNING: {len(missing)} of {len(classes)} classes have no training image and cannot be learned: {names}."


def imbalance_note(counts: Mapping[str, int]) -> str | None:
    """A sentence where one class has ten times the images of another or more, else None; empty classes do not count."""
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
