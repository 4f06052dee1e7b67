"""Whether a network is as sure as it is right: confidences, the reliability diagram and the expected calibration error.

Images are sorted into bins by their confidence, the softmax probability of the predicted class. In a bin of a
calibrated network the share that is right is the mean confidence (Guo et al., 2017, arXiv 1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.evaluation.significance import Proportion

BINS = 15
"""Of equal width, as `noah.evaluation.score.describe` has them."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The images whose confidence lies between two bounds.

    Args:
        low: Smallest confidence.
        high: Confidence of the next bin's smallest; that of the last bin belongs to it.
        confidence: Mean confidence of its images.
        right: How many of them are right.
    """

    low: float
    high: float
    confidence: float
    right: Proportion


def confidences(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The softmax probability of the class with the largest logit.

    Args:
        logits: (n, classes).

    Returns:
        float64 (n,).
    """
    values = logits.astype(np.float64)
    largest = values.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = 1 / np.exp(values - largest).sum(axis=1)
    return found


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """The bins of a reliability diagram that hold an image, by rising confidence.

    Args:
        confidence: Of each image, 0..1, (n,).
        right: Whether each was predicted right, (n,).
        bins: Number of bins between 0 and 1.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(place).tolist():
        inside = place == number
        share = Proportion(int(right[inside].sum()), int(inside.sum()))
        found.append(Bin(number / bins, (number + 1) / bins, float(confidence[inside].mean()), share))
    return tuple(found)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between confidence and accuracy, each bin weighted by its images; 0..1."""
    images = sum(one.right.total for one in bins)
    return sum(one.right.total * abs(one.right.share - one.confidence) for one in bins) / images
