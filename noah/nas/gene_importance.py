"""Which widths the candidates' accuracy depends on: permutation importance of a random forest (Breiman, 2001).

A forest learns to predict a candidate's accuracy from its widths, one for each module and block. The importance of a
width is how much worse the forest predicts candidates that it has not seen when that width is shuffled among them, as a
share of the variance of their accuracy. The effect of chance alone is measured along with it: every width gets a
shuffled copy that takes part as if it were real (Kursa and Rudnicki, 2010). A width counts as important if it beats
every copy.

Candidates that were given up in a race were evaluated on the hardest images only. Their accuracy on all images is
estimated from how often the others get the remaining images wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.nas.candidate import Candidate
from noah.nas.racing import Look, expected_errors
from noah.progress import Bar
from noah.space.kinds import with_published

FEWEST = 20
"""The fewest candidates; with fewer, every fold would have fewer than four, and chance would decide everything."""
_IMPORTANCE = 5
"""The second word of the seed, which no stage of a run uses."""
_FOLDS = 5
REPEATS = 6
"""The number of cross-validations, each with its own copies and folds."""
_TREES = 60


@dataclass(frozen=True, slots=True)
class GeneImportance:
    """How much the accuracy of candidates depends on each width.

    Attributes:
        importance: For each module, block by block, the share of the variance that the forest no longer explains when
            this width is shuffled; about 0 for a width that does not matter, None if all candidates have the same.
        error: For each module, block by block, the standard error over the repetitions; None where importance is None.
        chance: The largest importance of a shuffled copy, averaged over the repetitions.
        explained: The share of the variance among unseen candidates that the forest explains; 0 or less if it learned
            nothing.
        candidates: The number of candidates.
        estimated: How many of these were given up, so that their accuracy was estimated.
    """

    importance: Mapping[str, tuple[float | None, ...]]
    error: Mapping[str, tuple[float | None, ...]]
    chance: float
    explained: float
    candidates: int
    estimated: int

    @property
    def important(self) -> tuple[tuple[str, int], ...]:
        """The module and block (counted from 0) of every width that beats chance, the most important first."""
        if self.explained <= 0:
            return ()
        found = [
            (value, module, block)
            for module, row in self.importance.items()
            for block, value in enumerate(row)
            if value is not None and value > self.chance
        ]
        return tuple((module, block) for value, module, block in sorted(found, key=lambda one: -one[0]))


def gene_importance(
    candidates: Sequence[Candidate], images: int, seed: int, bar: Bar | None = None
) -> GeneImportance | None:
    """Measure the importance of each width; None if there are fewer than `FEWEST` candidates or all are equally good.

    Args:
        candidates: The candidates of one search; those whose logits are not finite are left out, because their accuracy
            is not known.
        images: The number of validation images.
        seed: The seed of the forests and the shuffles.
        bar: Updated with the number of finished repetitions.
    """
    candidates = [candidate for candidate in candidates if not candidate.failed]
    accuracy = estimated_accuracy(candidates, images)
    if len(candidates) < FEWEST or np.ptp(accuracy) == 0:
        return None
    kinds = with_published({kind for c in candidates for kind in c.subnet.kinds})
    widths = np.array([[w for kind in kinds for w in c.subnet.widths(kind)] for c in candidates], np.float64)
    varying = np.flatnonzero(np.ptp(widths, axis=0) > 0)
    if not len(varying):
        return None
    rounds = []
    for number in range(REPEATS):
        rounds.append(_one_round(widths[:, varying], accuracy, np.random.default_rng([seed, _IMPORTANCE, number])))
        if bar:
            bar.update(number + 1)
    losses = np.array([loss for loss, _ in rounds])  # (repeats, 2 * varying)
    real, copies = losses[:, : len(varying)], losses[:, len(varying) :]
    depth = candidates[0].subnet.depth
    return GeneImportance(
        importance=_by_kind(real.mean(axis=0), varying, kinds, depth),
        error=_by_kind(real.std(axis=0, ddof=1) / np.sqrt(REPEATS), varying, kinds, depth),
        chance=float(copies.max(axis=1).mean()),
        explained=float(np.mean([explained for _, explained in rounds])),
        candidates=len(candidates),
        estimated=sum(not candidate.outcome.complete for candidate in candidates),
    )


def estimated_accuracy(candidates: Sequence[Candidate], images: int) -> NDArray[np.float64]:
    """The accuracy of each candidate of a search on all validation images, (n,); estimated if it was given up."""
    looks = [
        Look(c.outcome.shown if c.outcome.shown is not None else tuple(range(images)), c.outcome.wrong, 0.0)
        for c in candidates
    ]
    shown, wrong = np.zeros(images), np.zeros(images)
    for look in looks:
        shown[list(look.images)] += 1
        wrong[list(look.wrong)] += 1
    shares = wrong / np.maximum(shown, 1)
    errors = [
        len(look.wrong) if candidate.outcome.complete else expected_errors(shares, [look])
        for candidate, look in zip(candidates, looks, strict=True)
    ]
    accuracy: NDArray[np.float64] = 1 - np.minimum(np.array(errors, np.float64), images) / images
    return accuracy


def _one_round(
    widths: NDArray[np.float64], accuracy: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Cross-validate once, with fresh copies and folds, given widths (n, genes) and accuracies (n,).

    Returns:
        How much shuffling reduces the explained share, for every gene and then every copy, (2 genes,), and that share.
    """
    from sklearn.ensemble import RandomForestRegressor

    count = len(widths)
    copies = np.stack([rng.permutation(column) for column in widths.T], axis=1)
    features = np.concatenate([widths, copies], axis=1)
    squared, shuffled = 0.0, np.zeros(features.shape[1])
    for tested in np.array_split(rng.permutation(count), _FOLDS):
        learned = np.setdiff1d(np.arange(count), tested)
        forest = RandomForestRegressor(
            _TREES, min_samples_leaf=2, max_features=1 / 3, random_state=int(rng.integers(2**31))
        ).fit(features[learned], accuracy[learned])
        # One call for the fold as it is and for every shuffled gene: a forest's prediction costs most at its start.
        # scikit-learn's permutation_importance makes a call each, which takes nine times as long for 100 candidates.
        rows = np.repeat(features[tested][None], 1 + features.shape[1], axis=0)
        for gene in range(features.shape[1]):
            rows[1 + gene, :, gene] = rng.permutation(rows[1 + gene, :, gene])
        predicted = forest.predict(rows.reshape(-1, features.shape[1])).reshape(1 + features.shape[1], len(tested))
        errors = ((predicted - accuracy[tested]) ** 2).sum(axis=1)
        squared += float(errors[0])
        shuffled += errors[1:]
    total = float(((accuracy - accuracy.mean()) ** 2).sum())
    return (shuffled - squared) / total, 1 - squared / total


def _by_kind(
    values: NDArray[np.float64], varying: NDArray[np.int64], kinds: Sequence[str], depth: int
) -> dict[str, tuple[float | None, ...]]:
    row: list[float | None] = [None] * (len(kinds) * depth)
    for place, value in zip(varying.tolist(), values.tolist(), strict=True):
        row[place] = value
    return {kind: tuple(row[start * depth : (start + 1) * depth]) for start, kind in enumerate(kinds)}
