"""Labeled images that are opened one at a time: splits, how to combine them, and how to hold some images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from noah.data.decode import Source, open_image
from noah.data.decoding import Decoding
from noah.errors import UsageError


class Split(Protocol):
    """A sequence of labeled images. Only `open` reads an image; making a split reads none."""

    @property
    def labels(self) -> np.ndarray:
        """int64 (n,)."""
        ...

    def __len__(self) -> int: ...

    def open(self, index: int) -> Image.Image:
        """Decode one image, in mode RGB.

        Raises:
            UnreadableImageError: If it cannot be decoded.
        """
        ...

    def source(self, index: int) -> Source | None:
        """The file that holds this image, or its bytes; None if it is in no file, and so cannot be damaged.

        Raises:
            UnreadableImageError: If its bytes cannot be found.
        """
        ...

    def name(self, index: int) -> str:
        """The name of this image for people: its path, or a name such as digits/12."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FileSplit:
    """Images in files.

    Attributes:
        paths: The path of each image.
        labels: int64 (n,).
    """

    paths: tuple[Path, ...]
    labels: np.ndarray

    def __post_init__(self) -> None:
        _check_labels(self.labels, len(self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Image.Image:
        """Read and decode the file."""
        return open_image(self.paths[index])

    def source(self, index: int) -> Path:
        """The image's path."""
        return self.paths[index]

    def name(self, index: int) -> str:
        """The image's path."""
        return str(self.paths[index])


@dataclass(frozen=True, slots=True, eq=False)
class ArraySplit:
    """Images that are already in memory.

    Attributes:
        images: uint8, (n, H, W) for gray or (n, H, W, 3) for RGB.
        labels: int64, (n,).
        prefix: Starts the images' names: number 12 is prefix/12.
    """

    images: np.ndarray
    labels: np.ndarray
    prefix: str

    def __post_init__(self) -> None:
        _check_labels(self.labels, len(self.images))

    def __len__(self) -> int:
        return len(self.images)

    def open(self, index: int) -> Image.Image:
        """Copy the image, in mode RGB."""
        return Image.fromarray(self.images[index]).convert("RGB")

    def source(self, index: int) -> None:
        """None: the image is in memory."""

    def name(self, index: int) -> str:
        """The prefix and the index, such as digits/12."""
        return f"{self.prefix}/{index}"


@dataclass(frozen=True, slots=True, eq=False)
class _Selection:
    """Some images of a split; they keep their names."""

    split: Split
    indices: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        labels: np.ndarray = self.split.labels[self.indices]
        return labels

    def __len__(self) -> int:
        return len(self.indices)

    def open(self, index: int) -> Image.Image:
        return self.split.open(int(self.indices[index]))

    def source(self, index: int) -> Source | None:
        return self.split.source(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.split.name(int(self.indices[index]))


@dataclass(frozen=True, slots=True, eq=False)
class _Concatenation:
    """One split after another."""

    first: Split
    second: Split

    @property
    def labels(self) -> np.ndarray:
        return np.concatenate([self.first.labels, self.second.labels])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def open(self, index: int) -> Image.Image:
        split, index = self._locate(index)
        return split.open(index)

    def source(self, index: int) -> Source | None:
        split, index = self._locate(index)
        return split.source(index)

    def name(self, index: int) -> str:
        split, index = self._locate(index)
        return split.name(index)

    def _locate(self, index: int) -> tuple[Split, int]:
        return (self.first, index) if index < len(self.first) else (self.second, index - len(self.first))


@dataclass(frozen=True, slots=True, eq=False)
class _SameImages:
    """The same images as another split; what is different about them is in the classes below."""

    split: Split

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels

    def __len__(self) -> int:
        return len(self.split)

    def open(self, index: int) -> Image.Image:
        return self.split.open(index)

    def source(self, index: int) -> Source | None:
        return self.split.source(index)

    def name(self, index: int) -> str:
        return self.split.name(index)


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded(_SameImages):
    """A split whose files are decoded in a given way."""

    decoding: Decoding

    def open(self, index: int) -> Image.Image:
        source = self.source(index)
        return self.split.open(index) if source is None else open_image(source, self.decoding)


def decoded(split: Split, decoding: Decoding) -> Split:
    """The same images, with their files decoded in a given way; images that are in no files stay as they are."""
    return _Decoded(split, decoding)


@dataclass(frozen=True, slots=True, eq=False)
class _Watched(_SameImages):
    """A split whose images somebody else looks at, too."""

    look: Callable[[int, Image.Image], None]

    def open(self, index: int) -> Image.Image:
        image = self.split.open(index)
        self.look(index, image)
        return image


def watched(split: Split, look: Callable[[int, Image.Image], None]) -> Split:
    """The same images; `look` is given each that is opened, with its place, in the thread that opens it."""
    return _Watched(split, look)


@dataclass(frozen=True, slots=True, eq=False)
class _Relabeled(_SameImages):
    """A split with labels of other classes."""

    others: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.others


def with_labels(split: Split, labels: np.ndarray) -> Split:
    """The same images with other labels, int64, (n,)."""
    if len(labels) != len(split):
        raise ValueError(f"{len(split)} images cannot have {len(labels)} labels")
    return _Relabeled(split, labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Grouped(_SameImages):
    """A split whose images have groups."""

    groups: tuple[str | None, ...]


def with_groups(split: Split, groups: Sequence[str | None]) -> Split:
    """The same images, each with the group that it must not be parted from; `groups_of` gives them back.

    Args:
        split: The images.
        groups: The name of each image's group, such as a patient; None if it belongs to no other image.
    """
    if len(groups) != len(split):
        raise ValueError(f"{len(split)} images cannot have {len(groups)} groups")
    return _Grouped(split, tuple(groups))


def groups_of(split: Split) -> tuple[str | None, ...] | None:
    """The group of each image, through selections and concatenations; None if nobody gave them groups."""
    if isinstance(split, _Grouped):
        return split.groups
    if isinstance(split, _SameImages):
        return groups_of(split.split)
    if isinstance(split, _Selection):
        groups = groups_of(split.split)
        return None if groups is None else tuple(groups[index] for index in split.indices.tolist())
    if isinstance(split, _Concatenation):
        parts = [(groups_of(part), len(part)) for part in (split.first, split.second)]
        if all(groups is None for groups, _ in parts):
            return None
        return tuple(group for groups, count in parts for group in (groups or [None] * count))
    return None


def numbered(split: Split) -> np.ndarray:
    """Whether each image has nothing but its number in a list for a name, through selections and concatenations.

    Returns:
        bool (n,).
    """
    if isinstance(split, _SameImages):
        return numbered(split.split)
    if isinstance(split, _Selection):
        flags: np.ndarray = numbered(split.split)[split.indices]
        return flags
    if isinstance(split, _Concatenation):
        return np.concatenate([numbered(split.first), numbered(split.second)])
    return np.full(len(split), getattr(split, "numbered", False))


def number_groups(groups: Sequence[str | None] | None) -> np.ndarray | None:
    """Number groups by their first image; an image without one is a group of its own.

    Returns:
        int64 (n,), or None if no image has a group.
    """
    if groups is None or not any(group is not None for group in groups):
        return None
    number_of = {group: number for number, group in enumerate(dict.fromkeys(groups)) if group is not None}
    alone = len(number_of) + 1
    return np.array(
        [alone + index if group is None else number_of[group] for index, group in enumerate(groups)], np.int64
    )


def select(split: Split, indices: np.ndarray) -> Split:
    """The images at `indices`, in that order."""
    return _Selection(split, indices)


def concatenate(first: Split, second: Split) -> Split:
    """All images of `first`, then all of `second`."""
    return _Concatenation(first, second)


def stratified_split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a random fraction of every class.

    Of a class with n images, round(fraction * n) are held out, but at least one if n >= 2; at least one is always kept.
    The same labels, fraction and seed always give the same split.

    Returns:
        The indices kept and the indices held out, each in ascending order.

    Raises:
        UsageError: If the fraction is not between 0 and 1.
    """
    _check_fraction(fraction)
    generator = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        held_out[generator.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def grouped_split(
    labels: np.ndarray,
    groups: np.ndarray,
    fraction: float,
    seed: int | Sequence[int],
    among: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out whole groups, such as all images of one patient, so that every class has about its fraction held out.

    Groups are taken in random order, larger ones first, each if that brings the shares of the classes that are held out
    closer to the fraction. Something is held out if it can be, and of every class something is kept. The same labels,
    groups, fraction and seed always give the same split.

    Args:
        labels: Integers, (n,).
        groups: Integers, (n,), the group of each image.
        fraction: The share of the images of each class to hold out.
        seed: Draws the order of the groups.
        among: bool (n,), which images may be held out; of a group, all or none. None means every image.

    Returns:
        The indices kept and the indices held out, each in ascending order.

    Raises:
        UsageError: If the fraction is not between 0 and 1.
    """
    _check_fraction(fraction)
    names, members = np.unique(groups, return_inverse=True)
    classes, label_of = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (members, label_of), 1)
    total = counts.sum(axis=0)
    kept = np.zeros(len(names), bool)
    if among is not None:
        kept[members[~among]] = True
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts.sum(axis=1)[order], kind="stable")]

    def distance(held: np.ndarray) -> float:
        return float(np.square(held / total - fraction).sum())

    chosen = np.zeros(len(names), bool)
    held = np.zeros(len(classes), np.int64)
    nearest: tuple[float, int] | None = None
    for group in order[~kept[order]].tolist():
        more = held + counts[group]
        if np.any((more >= total) & (counts[group] > 0)):
            continue  # a class would lose its last images
        far = distance(more)
        if far < distance(held):
            chosen[group], held = True, more
        elif not chosen.any() and (nearest is None or far < nearest[0]):
            nearest = far, group
    if not chosen.any() and nearest is not None:
        chosen[nearest[1]] = True
    held_out = chosen[members]
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def hold_out(labels: np.ndarray, share: float, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold out two random parts of every class.

    Of a class with n images, round(share * n) are held out, but at least two and at most n - 1; if their number is odd,
    the second part gets one more. The same labels, share and seed always give the same parts.

    Args:
        labels: Integers, (n,); each that occurs has to occur at least three times.
        share: The share of both parts together, above 0 and below 1.
        seed: Words of the seed.

    Returns:
        The indices kept, those of the first part and those of the second part, each in ascending order.
    """
    generator = np.random.default_rng(seed)
    parts = np.zeros(len(labels), int)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < 3:
            raise ValueError(f"{len(members)} images of class {label} cannot be in three parts")
        count = min(_wanted(len(members), share), len(members) - 1)
        parts[members[:count]] = 2
        parts[members[: count // 2]] = 1
    kept, first, second = (np.flatnonzero(parts == part) for part in range(3))
    return kept, first, second


def grouped_hold_out(
    labels: np.ndarray, groups: np.ndarray, share: float, seed: Sequence[int], among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold out two random parts as `hold_out` does, but by whole groups; a part may lack a class, or be empty.

    Each part has about half of the share of each class, as near as whole groups come to it; of every class something is
    kept.

    Args:
        labels: Integers, (n,).
        groups: Integers, (n,), the group of each image.
        share: The share of both parts together, above 0 and below 1.
        seed: Words of the seed that draws the groups.
        among: bool (n,), which images may be held out; of a group, all or none. None means every image.

    Returns:
        The indices kept, those of the first part and those of the second part, each in ascending order.
    """
    rest, second = grouped_split(labels, groups, share / 2, seed, among)
    left = None if among is None else among[rest]
    kept, first = grouped_split(labels[rest], groups[rest], share / 2 / (1 - share / 2), seed, left)
    return rest[kept], rest[first], second


def hold_out_among(
    labels: np.ndarray, share: float, seed: Sequence[int], among: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold out two random parts as `hold_out` does, but only of some images; of a class with too few, what there is.

    A part may then lack a class. Both are empty if they could not both have an image. One image of every class is kept.

    Args:
        labels: Integers, (n,).
        share: The share of both parts together of all images, above 0 and below 1.
        seed: Words of the seed.
        among: bool (n,), which images may be held out.

    Returns:
        The indices kept, those of the first part and those of the second part, each in ascending order.
    """
    generator = np.random.default_rng(seed)
    drawn: list[int] = []
    for label in np.unique(labels):
        size = int((labels == label).sum())
        members = generator.permutation(np.flatnonzero((labels == label) & among))
        drawn += members[: min(_wanted(size, share), size - 1)].tolist()
    if len(drawn) < 2:
        drawn = []
    parts = np.zeros(len(labels), int)
    parts[drawn[::2]], parts[drawn[1::2]] = 2, 1
    kept, first, second = (np.flatnonzero(parts == part) for part in range(3))
    return kept, first, second


def held_out_count(labels: np.ndarray, share: float) -> int:
    """How many images `hold_out` holds out; of classes with fewer than two, none."""
    sizes = np.unique(labels, return_counts=True)[1].tolist()
    return sum(min(_wanted(size, share), size - 1) for size in sizes)


def _wanted(size: int, share: float) -> int:
    return max(round(share * size), 2)


def same_images(one: Split, other: Split) -> bool:
    """Whether two splits are the same object or select the same images of one; no images are compared."""
    if isinstance(one, _Selection) and isinstance(other, _Selection):
        return one.split is other.split and np.array_equal(one.indices, other.indices)
    return one is other


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UsageError(
            f"A fraction of {fraction} of the images cannot be held out.", "Choose one between 0 and 1, such as 0.2."
        )


def _check_labels(labels: np.ndarray, count: int) -> None:
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise ValueError(f"{count} images need labels int64 ({count},), not {labels.dtype} {labels.shape}")
