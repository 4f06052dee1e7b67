"""Whether a network is right as often as it is confident: reliability diagram and expected calibration error.

Images are sorted into bins by their confidence, the softmax probability of the predicted class. If a network is
calibrated, the accuracy in each bin equals its mean confidence (Guo et al., 2017, arXiv 1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.evaluation.significance import Proportion

BINS = 15
"""The number of bins of equal width, the same as in Guo et al."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose confidence lies between two bounds.

    Args:
        low: The lower bound, which belongs to the bin.
        high: The upper bound, which belongs to the next bin, except in the last one.
        confidence: The mean confidence of the bin's images.
        right: How many of the images are classified correctly.
    """

    low: float
    high: float
    confidence: float
    right: Proportion


def confidences(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the softmax probability of the class with the largest logit, from logits (n, classes).

    Returns:
        float64, (n,).
    """
    values = logits.astype(np.float64)
    largest = values.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = 1 / np.exp(values - largest).sum(axis=1)
    return found


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """Sort images into the bins of a reliability diagram; empty bins are left out, and confidence rises.

    Args:
        confidence: The confidence for each image, 0..1, (n,).
        right: Whether each image is classified correctly, (n,).
        bins: The number of bins of equal width between 0 and 1.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(place).tolist():
        inside = place == number
        share = Proportion(int(right[inside].sum()), int(inside.sum()))
        found.append(Bin(number / bins, (number + 1) / bins, float(confidence[inside].mean()), share))
    return tuple(found)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between confidence and accuracy, 0..1; each bin is weighted by its number of images."""
    images = sum(one.right.total for one in bins)
    return sum(one.right.total * abs(one.right.share - one.confidence) for one in bins) / images
