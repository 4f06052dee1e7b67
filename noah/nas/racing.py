"""Racing: a candidate is given up as soon as it can no longer be among the best.

A candidate is evaluated on a few validation images at a time. The hardest come first, judged by what all candidates
have got wrong so far, so a bad candidate fails soon. Exact racing only gives up on candidates that provably cannot be
among the best k, ties included: the best k and their order are those of a full evaluation. Paired racing also gives up
on candidates that a sign test on the images so far finds worse than the k-th best; it needs fewer images and may, in
rare cases, lose a good candidate.

With two objectives, the best k are those that fewer than k others dominate. A candidate then has to beat the k-th most
accurate of those that cost no more than it does.
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

from noah.evaluation.accuracy import Score
from noah.evaluation.score import Logits, finite_rows
from noah.files.packed import pack_images, unpack_images
from noah.nas.outcome import Outcome

Rule = Literal["exact", "paired", "off"]

SIGNIFICANCE = 0.01
"""The level of the one-sided sign test in paired racing, at each look."""
_ROUNDING = 1e-9
"""The relative difference from which on a cross-entropy counts as larger than another."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of one candidate on a few images.

    Attributes:
        images: The indices of the images, in the order in which they were evaluated.
        wrong: The images that it got wrong.
        entropy: The sum of its cross-entropies on them, in nats; infinite if a logit is not finite.
    """

    images: tuple[int, ...]
    wrong: tuple[int, ...]
    entropy: float

    @property
    def failed(self) -> bool:
        """Whether any logit is not finite."""
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
class Rules:
    """How candidates race.

    Attributes:
        rule: When to give up; "off" evaluates every image, in the original order.
        images: The number of validation images.
        top: How many of the best have to be found for certain.
        smallest_batch: The fewest images evaluated at once.
        batch_size: The most images evaluated at once.
    """

    rule: Rule
    images: int
    top: int
    smallest_batch: int
    batch_size: int


class Difficulty:
    """How often a candidate was evaluated on each image, and how often it was wrong.

    Args:
        images: The number of validation images.
    """

    def __init__(self, images: int) -> None:
        self._shown, self._wrong = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)

    def add(self, look: Look) -> None:
        """Count the results of one look."""
        self._shown[list(look.images)] += 1
        self._wrong[list(look.wrong)] += 1

    @property
    def shares(self) -> NDArray[np.float64]:
        """The share of candidates that got each image wrong, (images).

        One imaginary candidate that was half right is counted for each image, so an image that only few candidates have
        seen is neither easy nor hard.
        """
        shares: NDArray[np.float64] = (self._wrong + 0.5) / (self._shown + 1)
        return shares


def look_at(images: NDArray[np.int64], labels: NDArray[np.int64], logits: Logits) -> Look:
    """Compare the logits of some images with their labels.

    Args:
        images: The indices of the images, int64, (m).
        labels: The labels of these images, int64, (m).
        logits: The logits of these images, float32, (m, classes).
    """
    values, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    finite = torch.from_numpy(finite_rows(logits))  # argmax means nothing for the others
    errors = ((values.argmax(dim=1) != targets) | ~finite).numpy()
    # Sums of multiples of 2^-32 are exact, so the order of the images cannot decide a tie.
    entropies = torch.round(F.cross_entropy(values, targets, reduction="none") * 2**32) / 2**32
    entropies = entropies.where(finite, math.inf)
    return Look(tuple(images.tolist()), tuple(images[errors].tolist()), float(entropies.sum()))


def outcome_of(looks: Sequence[Look], images: int) -> Outcome:
    """Combine several looks, at least one, none of which share an image; `images` is the number of all images."""
    shown = [image for look in looks for image in look.images]
    wrong = sorted(image for look in looks for image in look.wrong)
    entropy = sum(look.entropy for look in looks)
    score = Score(len(shown) - len(wrong), len(shown), entropy / len(shown))
    failed = any(look.failed for look in looks)
    return Outcome(score, tuple(wrong), None if len(shown) == images and not failed else tuple(sorted(shown)))


def next_images(
    rules: Rules, shares: NDArray[np.float64], looks: Sequence[Look], bound: Outcome | None
) -> NDArray[np.int64]:
    """The images to evaluate a candidate on next: as many as it needs at least to lose, within the batch sizes.

    Args:
        rules: The rules of the race.
        shares: The share of candidates that got each image wrong, (images).
        looks: The candidate's results so far.
        bound: What the candidate has to beat; None if there is nothing to beat yet.
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
    """How many images a candidate will get wrong if it stays as much better or worse than the others as it is so far.

    Args:
        shares: The share of candidates that got each image wrong, (images).
        looks: The candidate's results so far.
    """
    shown, wrong = 0.0, 0
    for look in looks:
        shown += float(shares[list(look.images)].sum())
        wrong += len(look.wrong)
    return wrong + (float(shares.sum()) - shown) * (wrong + 1) / (shown + 1)


def is_lost(rules: Rules, looks: Sequence[Look], bound: Outcome | None) -> bool:
    """Whether a candidate may be given up after these looks.

    A candidate with a logit that is not finite is always given up, whatever the rule, because nobody can tell how good
    it is.

    Args:
        rules: The rules of the race.
        looks: The candidate's results so far.
        bound: What the candidate has to beat; None if there is nothing to beat yet.
    """
    if any(look.failed for look in looks):
        return True
    if bound is None or rules.rule == "off" or not looks:
        return False
    mistakes = sum(len(look.wrong) for look in looks)
    allowed = rules.images - bound.score.correct
    if mistakes > allowed:
        return True
    # It could still tie on accuracy by being right on all the rest; each image adds a cross-entropy of 0 or more.
    entropy = sum(look.entropy for look in looks) / rules.images
    if mistakes == allowed and entropy > bound.score.cross_entropy * (1 + _ROUNDING):
        return True
    if rules.rule != "paired":
        return False
    shown = {image for look in looks for image in look.images}
    ours, theirs = {image for look in looks for image in look.wrong}, shown.intersection(bound.wrong)
    return sign_test(len(ours - theirs), len(theirs - ours)) < SIGNIFICANCE


def sign_test(worse: int, better: int) -> float:
    """The one-sided p-value of the exact sign test: the chance of `worse` or more if both were equally likely."""
    trials = worse + better
    return float(sum(math.comb(trials, count) for count in range(worse, trials + 1)) / 2**trials)
