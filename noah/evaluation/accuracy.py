"""The figure that a network is judged by, with its uncertainty; it needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Score:
    """Top-1 accuracy with its cross-entropy.

    Args:
        correct: How many images have their largest logit at the label.
        total: How many images were scored.
        cross_entropy: The mean over all images, in nats; infinite if any logit is not finite.
    """

    correct: int
    total: int
    cross_entropy: float

    @property
    def accuracy(self) -> float:
        """The share of correct images, 0..1."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """The binomial standard error of the accuracy, sqrt(p (1 - p) / n)."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} ± {self.standard_error:.1%}"

    def to_json(self) -> dict[str, Any]:
        """The score as written to files; JSON has no infinity, so an infinite cross-entropy becomes None."""
        return {
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "cross_entropy": self.cross_entropy if math.isfinite(self.cross_entropy) else None,
        }
