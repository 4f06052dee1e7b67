"""Labels that are probably wrong: of images whose nearest neighbors, by a backbone's features, have another label.

The neighbors vote leave-one-out, as in Wilson's edited nearest neighbor rule (1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBORS = 10
"""How many neighbors vote on an image, or as many as its class has other images."""
_FEWEST = 3
"""A class with fewer other images cannot vouch for one of its own."""
_AGREE = 0.8
"""The share of the neighbors that have to have one and the same other label."""
_SPARE = 10
"""Neighbors that are asked for beyond those that vote, because copies of an image must not vote on it."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An image whose neighbors have another label.

    Attributes:
        index: The place of the image.
        label: Its label.
        other: The label of its neighbors.
        agreeing: How many of them have it.
        neighbors: How many voted.
    """

    index: int
    label: int
    other: int
    agreeing: int
    neighbors: int


def suspicious_labels(
    features: NDArray[np.float32], labels: NDArray[np.int64], copies: NDArray[np.uint64]
) -> list[Suspicion]:
    """Find images of which at least four in five neighbors have one other label; the clearest come first.

    Args:
        features: Of each image, (n, D); their directions are compared.
        labels: Of each image, (n,).
        copies: Equal for images that are the same, (n,).
    """
    from sklearn.neighbors import NearestNeighbors

    count = len(labels)
    if count < 2:
        return []
    directions = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    asked = min(NEIGHBORS + _SPARE + 1, count)
    neighbors = NearestNeighbors(n_neighbors=asked, algorithm="brute").fit(directions)
    distances, places = neighbors.kneighbors(directions)
    others = np.bincount(labels)[labels] - 1
    found: list[tuple[float, float, Suspicion]] = []
    for index in range(count):
        votes = min(NEIGHBORS, int(others[index]))
        if votes < _FEWEST:
            continue
        voting = places[index] != index
        voting &= copies[places[index]] != copies[index]
        near = places[index][voting][:votes]
        if len(near) < _FEWEST:
            continue
        counts = np.bincount(labels[near])
        other, agreeing = int(counts.argmax()), int(counts.max())
        if other != labels[index] and agreeing >= _AGREE * len(near):
            far = float(distances[index][voting][: len(near)].mean())
            suspicion = Suspicion(index, int(labels[index]), other, agreeing, len(near))
            found.append((-agreeing / len(near), far, suspicion))
    return [suspicion for *_, suspicion in sorted(found, key=lambda entry: (entry[0], entry[1], entry[2].index))]
