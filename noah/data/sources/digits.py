"""The handwritten digits that come with scikit-learn: a real dataset that needs no download."""

from __future__ import annotations

from functools import partial

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.source import Source, named
from noah.data.split import ArraySplit, select, stratified_split
from noah.settings.settings import DataSettings

TRAINING_IMAGES_PER_CLASS = 100


def load_digits(*, seed: int, validation_fraction: float) -> Dataset:
    """Load 1,797 gray images of 8 x 8 pixels: 1,000 for training and validation, 797 for testing.

    The source is the test set of the UCI dataset "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
    1998). noah's own choice of test images is the same for every seed; the seed only draws the validation images.

    Args:
        seed: Draws the validation images.
        validation_fraction: The fraction of the 1,000 images that is held out for validation.

    Raises:
        UsageError: If the fraction is not between 0 and 1.
    """
    from sklearn.datasets import load_digits as load_scikit_learn_digits  # Takes a second; few runs need it.

    values, labels = load_scikit_learn_digits(return_X_y=True)
    pixels = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # The source's values are 0..16.
    everything = ArraySplit(pixels, labels.astype(np.int64), "digits")
    training = _fixed_training_indices(everything.labels)
    test = np.setdiff1d(np.arange(len(everything)), training)
    train, validation = stratified_split(everything.labels[training], validation_fraction, seed)
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        train=select(everything, training[train]),
        validation=select(everything, training[validation]),
        load_test=partial(select, everything, test),
        notes=(
            f"digits has noah's own split, the same for every seed: {len(training):,} images to train and validate on, "
            f"{len(test)} to test on; accuracies on other splits of these images are not comparable.",
            f"Seed {seed} holds out {len(validation)} of the {len(training):,} for validation, class by class.",
        ),
    )


def _fixed_training_indices(labels: np.ndarray) -> np.ndarray:
    """Take 100 images of each class at even distances, so that no change to a random generator changes the split."""
    chosen = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.arange(TRAINING_IMAGES_PER_CLASS) * len(members) // TRAINING_IMAGES_PER_CLASS])
    return np.sort(np.concatenate(chosen))


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_digits(seed=seed, validation_fraction=data.validation_fraction)


SOURCE = Source("scikit-learn's digits", named(("digits",)), _load, names=("digits",))
