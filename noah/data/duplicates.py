"""Which images of several splits are the same, pixel for pixel, or nearly so.

A network that is measured on images that it was trained on looks better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageChops

from noah.data.image_hash import NEAR, Hashes, is_sampled
from noah.data.split import Split
from noah.errors import UnreadableImageError

_BLOCK = 2**22
"""Pairs of images compared at once."""

Pairs = NDArray[np.int64]
"""(k, 2): the place of an image in the first split, and of the same image in the second; each in the second once."""


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """A split, and the hashes of its images."""

    split: Split
    hashes: Hashes


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """What two splits have in common.

    Attributes:
        first: The name of one.
        second: The name of the other, such as validation.
        exact: Images that are the same.
        near: Other images that are nearly the same; None if nobody looked for them.
        copies: Whether all images of one of the splits, and not just one image, are in the other.
    """

    first: str
    second: str
    exact: Pairs
    near: Pairs | None
    copies: bool


def overlaps(splits: Mapping[str, Hashed]) -> list[Overlap]:
    """Compare every two splits; large images whose hashes are equal are opened again and compared pixel by pixel."""
    found = []
    for (first, one), (second, other) in combinations(splits.items(), 2):
        exact = _confirmed(one.split, other.split, one.hashes, same_pixels(one.hashes, other.hashes))
        near = None
        if one.hashes.near is not None and other.hashes.near is not None:
            near = _nearly_same(one.hashes.near, other.hashes.near)
            near = near[~np.isin(near[:, 1], exact[:, 1])]
        found.append(Overlap(first, second, exact, near, _are_copies(one.hashes, other.hashes, exact)))
    return found


def copies_told(overlap: Overlap, hashed: Mapping[str, Hashed]) -> str:
    """Say in one sentence that one split is a copy of another, with an example."""
    one, other = (hashed[name].split for name in (overlap.first, overlap.second))
    first, second = overlap.exact[0].tolist()
    smaller, larger = overlap.second, overlap.first
    if len(overlap.exact) < len(other):
        smaller, larger = larger, smaller
    return (
        f"The {smaller} images are copies: each of them is also among the {larger} images, as {other.name(second)} is "
        f"{one.name(first)}, so nothing that is measured on them says how well a network does on new images."
    )


def same_pixels(one: Hashes, other: Hashes) -> Pairs:
    """The images of `other` that have the hash of an image of `one`, each with the first such image."""
    known, places = np.unique(one.exact, return_index=True)
    if not len(known):
        return np.empty((0, 2), np.int64)
    at = np.minimum(np.searchsorted(known, other.exact), len(known) - 1)
    hit = np.flatnonzero((known[at] == other.exact) & (other.exact != 0))
    return np.stack([places[at[hit]], hit], axis=1).astype(np.int64)


def repeated(hashed: Hashed) -> list[list[int]]:
    """The images of one split that are there more than once: the places of each, in order."""
    exact = hashed.hashes.exact
    order = np.argsort(exact, kind="stable")
    bounds = np.flatnonzero(np.diff(exact[order])) + 1
    groups = [group.tolist() for group in np.split(order, bounds) if len(group) > 1 and exact[group[0]]]
    confirmed = []
    for first, *others in groups:
        same = [i for i in others if not is_sampled(int(exact[first])) or _equal(hashed.split, first, hashed.split, i)]
        if same:
            confirmed.append([first, *same])
    return sorted(confirmed)


def other_labels(hashed: Hashed, groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Those groups of equal images that do not all have the same label."""
    labels = hashed.split.labels
    return [list(group) for group in groups if len(set(labels[list(group)].tolist())) > 1]


def _confirmed(first: Split, second: Split, hashes: Hashes, pairs: Pairs) -> Pairs:
    sure = [
        not is_sampled(int(hashes.exact[one])) or _equal(first, one, second, other) for one, other in pairs.tolist()
    ]
    confirmed: Pairs = pairs[np.array(sure, bool)]
    return confirmed


def _equal(first: Split, one: int, second: Split, other: int) -> bool:
    """Open two images and compare all pixels."""
    try:
        left, right = first.open(one), second.open(other)
    except UnreadableImageError:
        return False  # it could be read a moment ago, when it was hashed
    return left.size == right.size and ImageChops.difference(left, right).getbbox() is None


def _nearly_same(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> Pairs:
    """For each image of `other` the nearest of `one`, if it is near enough; in blocks, so in constant memory."""
    telling, asked = (np.flatnonzero(hashes) for hashes in (one, other))
    pairs: list[tuple[int, int]] = []
    if len(telling):
        known = one[telling]
        rows = max(1, _BLOCK // len(known))
        for start in range(0, len(asked), rows):
            block = asked[start : start + rows]
            distance = np.bitwise_count(other[block, None] ^ known[None])
            nearest = distance.argmin(axis=1)
            hit = np.flatnonzero(distance[np.arange(len(block)), nearest] <= NEAR)
            pairs += zip(telling[nearest[hit]].tolist(), block[hit].tolist(), strict=True)
    return np.array(pairs, np.int64).reshape(-1, 2)


def _are_copies(one: Hashes, other: Hashes, exact: Pairs) -> bool:
    common = other.exact[exact[:, 1]]
    if len(np.unique(common)) < 2:
        return False
    return len(exact) == len(other) or bool(np.isin(one.exact, common).all())
