"""How certain the choice among candidates is, given that the validation images are only a sample.

Other validation images of the same kind might have led to another choice. The bootstrap (Efron, 1979) stands in for
them: as many images as there are validation images are drawn from these with replacement, and the candidates are ranked
on them, many times over.

Candidates that tie for the fewest mistakes share the win evenly. The search itself breaks ties by cross-entropy, but
for single images only right and wrong is kept; and between two candidates that are right on the same images, nothing
can be certain anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.files.record import Record
from noah.progress import joined

RESAMPLES = 2000
"""How often the validation images are resampled; the share of wins then has a standard error of at most 1.1%."""
_CERTAINTY = 5
"""The second word of the seed, which no stage of a run uses."""
_BLOCK = 100
"""How many resamples are handled at once, so that many images and candidates fit into memory."""
_NAMED = 3
"""How many candidates besides the winner are named in the sentence."""


@dataclass(frozen=True, slots=True)
class Certainty(Record):
    """How often each candidate wins among resampled validation images.

    Attributes:
        wins: The share of resamples that each candidate wins, in the order given; they sum to 1.
        images: The number of validation images.
        resamples: How often they were resampled.
        lead: The first candidate's accuracy minus the second's; None if there is no second.
        lead_error: The standard error of the lead. It is that of the paired difference, so images on which both are
            right or both are wrong add nothing, and equals what infinitely many resamples would give.
    """

    wins: tuple[float, ...]
    images: int
    resamples: int
    lead: float | None
    lead_error: float | None


def certainty(wrong_sets: Sequence[Sequence[int]], images: int, seed: int, *, resamples: int = RESAMPLES) -> Certainty:
    """Resample the validation images and count who wins.

    Args:
        wrong_sets: The images that each candidate gets wrong, for the winner first and the runner-up second; all
            candidates were evaluated on all images.
        images: The number of validation images.
        seed: The seed of the random draws.
        resamples: How often to resample.

    Raises:
        ValueError: If there is no candidate or no image.
    """
    if not wrong_sets or images < 1:
        raise ValueError(f"{len(wrong_sets)} candidates on {images} images leave nothing to compare")
    wrong = np.zeros((len(wrong_sets), images), dtype=bool)
    for candidate, indices in enumerate(wrong_sets):
        wrong[candidate, list(indices)] = True
    # Images that the same candidates get wrong are interchangeable, and there are far fewer such kinds than images.
    unique, counts = np.unique(wrong, axis=1, return_counts=True)
    kinds = unique.astype(np.float64)  # float products are faster, and whole numbers stay exact
    rng = np.random.default_rng([seed, _CERTAINTY])
    wins = np.zeros(len(wrong_sets))
    for start in range(0, resamples, _BLOCK):
        drawn = rng.multinomial(images, counts / images, size=min(_BLOCK, resamples - start))
        wins += _shares_of_wins(drawn.astype(np.float64) @ kinds.T).sum(axis=0)
    lead, error = _lead(wrong[0], wrong[1]) if len(wrong_sets) > 1 else (None, None)
    return Certainty(tuple((wins / resamples).tolist()), images, resamples, lead, error)


def describe_certainty(sure: Certainty, indices: Sequence[int]) -> str:
    """Say how certain the choice is, in a sentence or two; `indices` are the candidates' numbers, in the same order."""
    text = f"The winner wins in {sure.wins[0]:.0%} of {sure.resamples:,} resamples of the validation images"
    others = sorted(zip(sure.wins[1:], indices[1:], strict=True), key=lambda pair: -pair[0])
    named = [(f"{index}", f"{share:.0%}") for share, index in others[:_NAMED] if share >= 0.005]
    if named:
        names, shares = (joined(list(words)) for words in zip(*named, strict=True))
        text += f"; {'subnet' if len(named) == 1 else 'subnets'} {names} in {shares}"
    rest = sum(share for share, _ in others[len(named) :])
    if rest >= 0.005:
        count = len(others) - len(named)
        text += f"{',' if named else ';'} {'one other' if count == 1 else f'{count:,} others together'} in {rest:.0%}"
    if sure.lead is None or sure.lead_error is None:
        return f"{text}."
    if not sure.lead:
        return f"{text}. It is right on as many of these images as subnet {indices[1]}."
    place = "leads" if sure.lead >= 0 else "lies behind"
    return f"{text}. It {place} subnet {indices[1]} by {abs(sure.lead):.1%} ± {sure.lead_error:.1%}."


def _shares_of_wins(mistakes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn each candidate's mistakes in each resample, (B, k), into its share of that resample's win, (B, k)."""
    fewest = mistakes == mistakes.min(axis=1, keepdims=True)
    shares: NDArray[np.float64] = fewest / fewest.sum(axis=1, keepdims=True)
    return shares


def _lead(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[float, float]:
    """The mean and standard error of the paired difference: the second makes 1, 0 or -1 more mistakes on each image."""
    difference = second.astype(np.float64) - first
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))
