"""How certain an accuracy is, and whether two differ: Wilson's interval, McNemar's exact test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
"""The coverage of every interval that is shown."""


@dataclass(frozen=True, slots=True)
class Proportion:
    """A share of images, such as an accuracy.

    Args:
        correct: The number of images that make up the share.
        total: The number of all images, at least one.
    """

    correct: int
    total: int

    def __post_init__(self) -> None:
        if not (0 <= self.correct <= self.total and self.total):
            raise ValueError(f"{self.correct} of {self.total} is not a share")

    @property
    def share(self) -> float:
        """The share, 0..1."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The share's confidence interval, by Wilson's score (Wilson, 1927)."""
        return wilson_interval(self.correct, self.total)


def wilson_interval(correct: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Compute Wilson's score interval: the shares p with |correct / total - p| <= z sqrt(p (1 - p) / total).

    Args:
        correct: The number of successes.
        total: The number of trials, at least one.
        confidence: The coverage of the interval, above 0 and below 1.

    Returns:
        The lower and the upper end, within 0..1.
    """
    from scipy.stats import binomtest  # here, because it takes a second to load

    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Compute the two-sided p-value of McNemar's exact test (McNemar, 1947).

    If two classifiers are equally good, an image that only one of them gets right is equally likely to be either one's.
    The smaller of the two counts is then binomial with probability 1/2, and the p-value is twice its lower tail.

    Args:
        only_first: The number of images that only the first classifier gets right.
        only_second: The number of images that only the second classifier gets right.
    """
    from scipy.stats import binomtest

    n = only_first + only_second
    return float(binomtest(min(only_first, only_second), n).pvalue) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that the chance of any false finding stays below the level (Holm, 1979).

    The k-th smallest of n is multiplied by n - k + 1, and none may end up smaller than the one before it.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected
