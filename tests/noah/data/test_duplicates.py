from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noah.data.duplicates import Hashed, other_labels, overlaps, repeated, same_pixels
from noah.data.image_hash import Hasher, Hashes
from noah.data.split import ArraySplit, Split, select

GRAYS = st.lists(st.integers(0, 5), max_size=12)


def grays(values: list[int], side: int = 2, labels: list[int] | None = None) -> ArraySplit:
    images = np.zeros((len(values), side, side), np.uint8) + np.array(values, np.uint8).reshape(-1, 1, 1)
    return ArraySplit(images, np.array(labels or [0] * len(values), np.int64), "gray")


def hashed(split: Split, near: bool = False) -> Hashed:
    hasher = Hasher(len(split), near=near)
    for index in range(len(split)):
        hasher.look(index, split.open(index))
    return Hashed(split, hasher.hashes())


@given(GRAYS, GRAYS)
def test_every_image_that_two_splits_share_is_found(one: list[int], other: list[int]) -> None:
    (found,) = overlaps({"training": hashed(grays(one)), "validation": hashed(grays(other))})
    expected = [[one.index(gray), index] for index, gray in enumerate(other) if gray in one]
    assert found.exact.tolist() == expected
    assert (found.first, found.second, found.near) == ("training", "validation", None)
    common = set(one) & set(other)
    assert found.copies == (len(common) > 1 and (set(one) <= common or set(other) <= common))


@given(GRAYS)
def test_every_repeat_in_a_split_is_found(values: list[int]) -> None:
    labels = [index % 2 for index in range(len(values))]
    images = hashed(grays(values, labels=labels))
    groups = [[index for index, gray in enumerate(values) if gray == known] for known in sorted(set(values))]
    assert repeated(images) == sorted(group for group in groups if len(group) > 1)
    for group in other_labels(images, repeated(images)):
        assert {labels[index] for index in group} == {0, 1}


def test_images_that_were_not_read_are_in_no_pair() -> None:
    unread = Hashes(np.zeros(3, np.uint64))
    assert not len(same_pixels(unread, unread))
    assert repeated(Hashed(grays([1, 1, 1]), unread)) == []


def test_three_splits_are_compared_two_by_two() -> None:
    splits = {name: hashed(grays(values)) for name, values in (("a", [1, 2]), ("b", [3, 2]), ("c", [1, 3]))}
    found = {(overlap.first, overlap.second): overlap.exact.tolist() for overlap in overlaps(splits)}
    assert found == {("a", "b"): [[1, 1]], ("a", "c"): [[0, 0]], ("b", "c"): [[0, 1]]}


def test_large_images_of_equal_hashes_are_compared_pixel_by_pixel() -> None:
    """Of these, whose side is 1200, every second row is hashed at most, and the last not at all."""
    images = np.zeros((3, 1200, 1200), np.uint8)
    images[1, -1, -1] = images[2, -1, -1] = 9
    split = ArraySplit(images, np.array([0, 0, 1]), "large")
    every = hashed(split)
    assert len(set(every.hashes.exact.tolist())) == 1
    one, other = (hashed(select(split, np.array(indices))) for indices in ([0, 1], [2]))
    assert overlaps({"one": one, "other": other})[0].exact.tolist() == []  # the first image of that hash is another
    assert overlaps({"one": hashed(select(split, np.array([1]))), "other": other})[0].exact.tolist() == [[0, 0]]


@pytest.mark.parametrize("swapped", [False, True])
def test_near_images_are_found_besides_the_same(swapped: bool) -> None:
    rng = np.random.default_rng(0)
    drawn = [Image.fromarray(rng.integers(0, 240, (9, 9), dtype=np.uint8)) for _ in range(4)]
    coarse = np.stack([np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC)) for image in drawn]) // 2 + 50
    changed = coarse + rng.integers(0, 4, coarse.shape).astype(np.uint8)
    labels = np.zeros(3, np.int64)
    one = hashed(ArraySplit(coarse[:3], labels, "one"), near=True)
    other = hashed(ArraySplit(np.stack([changed[3], changed[1], coarse[2]]), labels, "other"), near=True)
    splits = {"two": other, "one": one} if swapped else {"one": one, "two": other}
    (found,) = overlaps(splits)
    assert found.near is not None
    assert (found.exact.tolist(), found.near.tolist(), found.copies) == ([[2, 2]], [[1, 1]], False)
