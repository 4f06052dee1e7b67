"""Few-shot subsets of the datasets that noah draws itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noah.data.dataset import Dataset
from noah.data.split import select

_WORD = 1_600  # Together with the caller's seed, this is the seed of the choice.


def choose_shots(dataset: Dataset, shots: int, seed: int) -> Dataset:
    """Keep so many training images of each class; validation and test images stay the same.

    As of the published few-shot sets, the winner is retrained on the same images as the supernet, and the validation
    images are never trained on. With the same seed, fewer shots are among more.

    Args:
        dataset: The whole dataset.
        shots: How many images of each class.
        seed: Chooses them.

    Raises:
        ValueError: If a class has fewer training images.
    """
    generator = np.random.default_rng([_WORD, seed])
    chosen = []
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.train.labels == label)
        if len(members) < shots:
            raise ValueError(f"{dataset.name} has {len(members)} training images of class {name}, not {shots}")
        chosen.append(generator.permutation(members)[:shots])
    train = select(dataset.train, np.sort(np.concatenate(chosen)))
    note = (
        f"Seed {seed} chooses {shots} of the training images of each class, {len(train):,} in all; the winner is "
        f"retrained on them alone, and the search validates on all {len(dataset.validation):,} validation images."
    )
    return replace(
        dataset, name=f"{dataset.name}-{shots}shot", train=train, notes=(*dataset.notes, note), retrain=train
    )
