"""The handwritten digits that come with scikit-learn: a real dataset that needs no download."""

from __future__ import annotations

from functools import partial

import numpy as np

from noah.data.dataset import Dataset
from noah.data.split import ArraySplit, select, stratified_split

TRAINING_IMAGES_PER_CLASS = 100


def load_digits(*, seed: int, validation_fraction: float) -> Dataset:
    """Load 1,797 gray images of 8 x 8 pixels: 1,000 to train and validate on, 797 to test on.

    The source is the test part of the UCI set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).
    The test images are noah's own fixed choice, the same for every seed; the seed draws the validation images.

    Args:
        seed: Of the draw of the validation images.
        validation_fraction: The fraction of the 1,000 that is held out for validation.

    Raises:
        UsageError: The fraction is not between 0 and 1.
    """
    from sklearn.datasets import load_digits as load_scikit_learn_digits  # Takes a second; few runs need it.

    values, labels = load_scikit_learn_digits(return_X_y=True)
    pixels = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # The source has 0..16.
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
    """100 images of each class at even distances, so that no version of a random generator can change the split."""
    chosen = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.arange(TRAINING_IMAGES_PER_CLASS) * len(members) // TRAINING_IMAGES_PER_CLASS])
    return np.sort(np.concatenate(chosen))
