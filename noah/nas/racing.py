"""Racing: a candidate is given up as soon as it cannot be among the best any more.

A candidate is shown the validation images a few at a time, hardest first as judged by what all candidates got wrong so
far, so that a bad one fails soon. Exact racing gives up only what provably cannot enter the best k, ties included: the
best k and their order are those of a full evaluation. Paired racing also gives up what a sign test on the images seen
so far finds worse than the k-th best; it looks at fewer images and may, rarely, lose a good candidate.

With two objectives, the best k are those that fewer than k others dominate: what a candidate has to beat is then the
k-th most accurate of those that cost no more than it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from noah.evaluation.score import Logits, Score, finite_rows
from noah.files.packed import pack_images, unpack_images

Rule = Literal["exact", "paired", "off"]

SIGNIFICANCE = 0.01
"""Of the one-sided sign test of paired racing, at each look."""
_ROUNDING = 1e-9
"""By so much, relatively, a cross-entropy has to be larger to count as larger."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a few images said of one candidate.

    Attributes:
        images: Their indices, in the order shown.
        wrong: Which of these it got wrong.
        entropy: The sum of its cross-entropies on them, in nats; infinite where a logit was not finite.
    """

    images: tuple[int, ...]
    wrong: tuple[int, ...]
    entropy: float

    @property
    def failed(self) -> bool:
        """Whether it found a logit that is not finite."""
        return math.isinf(self.entropy)

    def to_json(self) -> dict[str, Any]:
        """The look as written to files; JSON has no infinity."""
        return {
            "images": pack_images(self.images),
            "wrong": pack_images(self.wrong),
            "entropy": None if self.failed else self.entropy,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Look:
        """Read what `to_json` gave, or that of an earlier version, which wrote plain numbers."""
        entropy = math.inf if value["entropy"] is None else value["entropy"]
        return cls(unpack_images(value["images"]), unpack_images(value["wrong"]), entropy)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the validation images say of one subnet.

    Attributes:
        score: On the images that it was shown.
        wrong: Which of these it got wrong, ascending.
        shown: Which images it was shown, in this order; None where it was shown all, and gave finite logits to all.
    """

    score: Score
    wrong: tuple[int, ...]
    shown: tuple[int, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether it was shown every image, and was not given up over the last ones."""
        return self.shown is None


@dataclass(frozen=True, slots=True)
class Rules:
    """How candidates race.

    Attributes:
        rule: When to give up; "off" shows every image, in its own order.
        images: Number of validation images.
        top: How many of the best are to be found for certain.
        smallest_batch: Images at a time, at least.
        batch_size: Images at a time, at most.
    """

    rule: Rule
    images: int
    top: int
    smallest_batch: int
    batch_size: int


class Difficulty:
    """How often each image was shown to a candidate, and how often the candidate got it wrong.

    Args:
        images: Number of validation images.
    """

    def __init__(self, images: int) -> None:
        self._shown, self._wrong = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)

    def add(self, look: Look) -> None:
        """Count a look at some of the images."""
        self._shown[list(look.images)] += 1
        self._wrong[list(look.wrong)] += 1

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of wrong answers to each image, (images).

        Each counts one imagined candidate that was half right, so that an image that few were shown is neither easy
        nor hard.
        """
        shares: NDArray[np.float64] = (self._wrong + 0.5) / (self._shown + 1)
        return shares


def look_at(images: NDArray[np.int64], labels: NDArray[np.int64], logits: Logits) -> Look:
    """Judge the logits of some images.

    Args:
        images: Their indices, int64 (m).
        labels: Their labels, int64 (m).
        logits: Float32 (m, classes).
    """
    values, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    finite = torch.from_numpy(finite_rows(logits))  # of others the largest is whatever was found first
    errors = ((values.argmax(dim=1) != targets) | ~finite).numpy()
    # Of multiples of 2^-32 sums are exact, so that the order in which images are shown does not decide a tie.
    entropies = torch.round(F.cross_entropy(values, targets, reduction="none") * 2**32) / 2**32
    entropies = entropies.where(finite, math.inf)
    return Look(tuple(images.tolist()), tuple(images[errors].tolist()), float(entropies.sum()))


def outcome_of(looks: Sequence[Look], images: int) -> Outcome:
    """What several looks say together; they show no image twice.

    Args:
        looks: At least one.
        images: Number of validation images.
    """
    shown = [image for look in looks for image in look.images]
    wrong = sorted(image for look in looks for image in look.wrong)
    entropy = sum(look.entropy for look in looks)
    score = Score(len(shown) - len(wrong), len(shown), entropy / len(shown))
    failed = any(look.failed for look in looks)
    return Outcome(score, tuple(wrong), None if len(shown) == images and not failed else tuple(shown))


def next_images(
    rules: Rules, shares: NDArray[np.float64], looks: Sequence[Look], bound: Outcome | None
) -> NDArray[np.int64]:
    """The images that a candidate is shown next: as many as it takes at the least to be lost, within reason.

    Args:
        rules: Of the race.
        shares: Of wrong answers to each image, (images).
        looks: At the candidate, so far.
        bound: What it has to beat; None while there is no such thing.
    """
    unseen = np.ones(rules.images, dtype=bool)
    for look in looks:
        unseen[list(look.images)] = False
    order = np.arange(rules.images) if rules.rule == "off" else np.argsort(-shares, kind="stable")
    count = rules.smallest_batch
    if rules.rule == "off":
        count = rules.batch_size
    elif rules.rule == "exact" and bound is not None:
        mistakes = sum(len(look.wrong) for look in looks)
        count = max(rules.images - bound.score.correct - mistakes + 1, count)
    chosen: NDArray[np.int64] = order[unseen[order]][: min(count, rules.batch_size)]
    return chosen


def expected_errors(shares: NDArray[np.float64], looks: Iterable[Look]) -> float:
    """How many images a candidate will get wrong, if it stays as much better or worse than the others as it was so far.

    Args:
        shares: Of wrong answers to each image, (images).
        looks: At the candidate, so far.
    """
    shown, wrong = 0.0, 0
    for look in looks:
        shown += float(shares[list(look.images)].sum())
        wrong += len(look.wrong)
    return wrong + (float(shares.sum()) - shown) * (wrong + 1) / (shown + 1)


def is_lost(rules: Rules, looks: Sequence[Look], bound: Outcome | None) -> bool:
    """Whether a candidate may be given up after these looks.

    One with a logit that is not finite always is, whatever the rule: how good it is cannot be told.

    Args:
        rules: Of the race.
        looks: At the candidate, so far.
        bound: What it has to beat; None while there is no such thing.
    """
    if any(look.failed for look in looks):
        return True
    if bound is None or rules.rule == "off" or not looks:
        return False
    mistakes = sum(len(look.wrong) for look in looks)
    allowed = rules.images - bound.score.correct
    if mistakes > allowed:
        return True
    # It could still be equally accurate, by being right on all the rest; each image adds a cross-entropy of 0 or more.
    entropy = sum(look.entropy for look in looks) / rules.images
    if mistakes == allowed and entropy > bound.score.cross_entropy * (1 + _ROUNDING):
        return True
    if rules.rule != "paired":
        return False
    shown = {image for look in looks for image in look.images}
    ours, theirs = {image for look in looks for image in look.wrong}, shown.intersection(bound.wrong)
    return sign_test(len(ours - theirs), len(theirs - ours)) < SIGNIFICANCE


def sign_test(worse: int, better: int) -> float:
    """The chance of `worse` or more out of both, if either were as likely; the exact one-sided sign test."""
    trials = worse + better
    return float(sum(math.comb(trials, count) for count in range(worse, trials + 1)) / 2**trials)
