"""Racing: a candidate is given up as soon as it cannot be among the best any more.

The validation images come hardest first, judged by the candidates before, so that a bad candidate fails soon. Exact
racing gives up only what provably cannot enter the best k, ties included: the best k and their order are those of a
full evaluation. Paired racing also gives up what a sign test on the images seen so far finds worse than the k-th best;
it looks at fewer images and may, rarely, lose a good candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from noah.evaluation import Logits, Score

Rule = Literal["exact", "paired", "off"]

SIGNIFICANCE = 0.01
"""Of the one-sided sign test of paired racing, at each look."""
_SMALLEST_BATCH = 16
"""Images at a time: fewer would save little and cost speed."""
_ROUNDING = 1e-9
"""By so much, relatively, a cross-entropy has to be larger to count as larger."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the validation images say of one subnet.

    Attributes:
        score: On the images that it was shown.
        wrong: Which of these it got wrong, ascending.
        shown: Which images it was shown, in this order; None where it was shown all.
    """

    score: Score
    wrong: tuple[int, ...]
    shown: tuple[int, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether it was shown every image."""
        return self.shown is None


class Scored(Protocol):
    """Whatever has an outcome."""

    @property
    def outcome(self) -> Outcome:
        """What the images said."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """What a candidate is up against.

    Attributes:
        order: The images, int64 (n), hardest first.
        bound: The outcome that it has to beat: that of the k-th best so far; None while there are fewer.
        rule: When to give up.
    """

    order: NDArray[np.int64]
    bound: Outcome | None
    rule: Rule


def start_race(best: Sequence[Scored], everything: Sequence[Scored], *, images: int, top: int, rule: Rule) -> Race:
    """The race of the next candidate.

    Args:
        best: Complete candidates so far, best first.
        everything: All candidates so far.
        images: Number of validation images.
        top: How many of the best are to be found for certain.
        rule: "off" shows every image, in its own order.
    """
    if rule == "off":
        return Race(np.arange(images), None, rule)
    bound = best[top - 1].outcome if len(best) >= top else None
    return Race(image_order([scored.outcome for scored in everything], images), bound, rule)


def image_order(outcomes: Sequence[Outcome], images: int) -> NDArray[np.int64]:
    """The images, those first that the largest share of candidates got wrong; ties in their own order.

    A share counts one imagined candidate that was half right, so that an image that few were shown is neither easy nor
    hard.
    """
    shown, wrong = np.ones(images), np.full(images, 0.5)
    for outcome in outcomes:
        shown[slice(None) if outcome.shown is None else list(outcome.shown)] += 1
        wrong[list(outcome.wrong)] += 1
    return np.argsort(-wrong / shown, kind="stable").astype(np.int64)


def run_race(
    race: Race, labels: NDArray[np.int64], logits_of: Callable[[NDArray[np.int64]], Logits], batch_size: int
) -> Outcome:
    """Show a candidate the images in their order until it is through or given up.

    Args:
        race: Order, bound and rule.
        labels: Of all images, int64 (n).
        logits_of: Gives the logits float32 (m, classes) of the images with these indices.
        batch_size: Images at a time, at most.
    """
    logits: list[Logits] = []
    errors = np.zeros(0, dtype=bool)
    entropy, seen = 0.0, 0
    while seen < len(labels):
        indices = race.order[seen : seen + _next_batch(race, len(labels), int(errors.sum()), batch_size)]
        logits.append(logits_of(indices))
        values, targets = torch.from_numpy(logits[-1]).double(), torch.from_numpy(labels[indices])
        errors = np.concatenate([errors, (values.argmax(dim=1) != targets).numpy()])
        entropy += float(F.cross_entropy(values, targets, reduction="sum"))
        seen += len(indices)
        if seen < len(labels) and is_lost(race, errors, entropy):
            break
    shown = race.order[:seen]
    wrong = tuple(np.sort(shown[errors]).tolist())
    score = Score(int(seen - errors.sum()), seen, entropy / seen)
    return Outcome(score, wrong, None if seen == len(labels) else tuple(shown.tolist()))


def is_lost(race: Race, errors: NDArray[np.bool_], entropy: float) -> bool:
    """Whether a candidate may be given up after the first images of the order.

    Args:
        race: Order, bound and rule.
        errors: Which of the images seen it got wrong, (m).
        entropy: The sum of its cross-entropies on them.
    """
    bound = race.bound
    if bound is None:
        return False
    images, mistakes = len(race.order), int(errors.sum())
    allowed = images - bound.score.correct
    if mistakes > allowed:
        return True
    # It could still be equally accurate, by being right on all the rest; each image adds a cross-entropy of 0 or more.
    if mistakes == allowed and entropy / images > bound.score.cross_entropy * (1 + _ROUNDING):
        return True
    if race.rule != "paired":
        return False
    theirs = np.isin(race.order[: len(errors)], bound.wrong)
    return sign_test(int((errors & ~theirs).sum()), int((theirs & ~errors).sum())) < SIGNIFICANCE


def sign_test(worse: int, better: int) -> float:
    """The chance of `worse` or more out of both, if either were as likely; the exact one-sided sign test."""
    trials = worse + better
    return float(sum(math.comb(trials, count) for count in range(worse, trials + 1)) / 2**trials)


def _next_batch(race: Race, images: int, mistakes: int, batch_size: int) -> int:
    """As many images as it takes at the least to be lost, within reason."""
    if race.bound is None:
        return batch_size
    needed = images - race.bound.score.correct - mistakes + 1 if race.rule == "exact" else _SMALLEST_BATCH
    return max(min(needed, batch_size), min(_SMALLEST_BATCH, batch_size))
