from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.data.split import (
    ArraySplit,
    FileSplit,
    Split,
    concatenate,
    grouped_hold_out,
    grouped_split,
    groups_of,
    hold_out,
    number_groups,
    select,
    stratified_split,
    with_groups,
    with_labels,
)
from noah.errors import UnreadableImageError, UsageError
from tests.noah.data.conftest import WriteImages

LABELS = st.lists(st.integers(0, 6), max_size=200).map(lambda values: np.array(values, np.int64))
FRACTIONS = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 2**32)


def grays(count: int, prefix: str = "grays") -> ArraySplit:
    images = np.repeat(np.arange(count, dtype=np.uint8), 6).reshape(count, 2, 3)
    return ArraySplit(images, np.arange(count) % 3, prefix)


@given(LABELS, FRACTIONS, SEEDS)
def test_stratified_split_parts_every_class(labels: np.ndarray, fraction: float, seed: int) -> None:
    kept, held_out = stratified_split(labels, fraction, seed)
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(len(labels)))
    assert np.array_equal(kept, np.sort(kept)) and np.array_equal(held_out, np.sort(held_out))
    for label in set(labels.tolist()):
        count = int((labels == label).sum())
        out = int((labels[held_out] == label).sum())
        assert count - out >= 1
        assert out == 0 if count == 1 else out == min(max(round(fraction * count), 1), count - 1)


@given(LABELS, FRACTIONS, SEEDS)
def test_stratified_split_is_deterministic(labels: np.ndarray, fraction: float, seed: int) -> None:
    for first, second in zip(
        stratified_split(labels, fraction, seed), stratified_split(labels, fraction, seed), strict=True
    ):
        assert np.array_equal(first, second)


def test_stratified_split_follows_the_seed() -> None:
    labels = np.zeros(100, np.int64)
    assert not np.array_equal(stratified_split(labels, 0.2, 0)[1], stratified_split(labels, 0.2, 1)[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_stratified_split_refuses_a_senseless_fraction(fraction: float) -> None:
    with pytest.raises(UsageError, match="cannot be held out"):
        stratified_split(np.zeros(5, np.int64), fraction, 0)


def test_array_split_opens_rgb_and_names_by_prefix() -> None:
    split = grays(4)
    assert len(split) == 4 and split.name(3) == "grays/3"
    image = split.open(3)
    assert image.mode == "RGB" and image.size == (3, 2) and image.getpixel((0, 0)) == (3, 3, 3)
    colors = ArraySplit(np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3), np.zeros(1, np.int64), "colors")
    assert np.array_equal(colors.open(0), colors.images[0])


def test_file_split_opens_lazily(tmp_path: Path, write_images: WriteImages) -> None:
    paths = write_images(tmp_path, 2)
    split = FileSplit((*paths, tmp_path / "absent.png"), np.array([0, 1, 0]))
    assert len(split) == 3 and split.name(1) == str(paths[1])
    assert split.open(1).getpixel((0, 0)) == (1, 1, 1)
    with pytest.raises(UnreadableImageError, match=r"absent\.png"):
        split.open(2)


@pytest.mark.parametrize("labels", [np.zeros(3, np.int64), np.zeros(2, np.int32), np.zeros((2, 1), np.int64)])
def test_labels_have_to_fit(labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="2 images need labels int64"):
        ArraySplit(np.zeros((2, 4, 4), np.uint8), labels, "x")
    with pytest.raises(ValueError, match="2 images need labels int64"):
        FileSplit((Path("a"), Path("b")), labels)


def described(split: Split) -> list[tuple[str, int, object]]:
    return [(split.name(i), int(split.labels[i]), split.open(i).getpixel((0, 0))) for i in range(len(split))]


def test_select_keeps_names_and_order() -> None:
    chosen = select(select(grays(6), np.array([5, 0, 3])), np.array([2, 0]))
    assert described(chosen) == [("grays/3", 0, (3, 3, 3)), ("grays/5", 2, (5, 5, 5))]
    assert len(select(grays(6), np.array([], np.int64))) == 0


def test_concatenate_puts_one_after_another() -> None:
    both = concatenate(select(grays(3, "a"), np.array([2])), grays(2, "b"))
    assert described(both) == [("a/2", 2, (2, 2, 2)), ("b/0", 0, (0, 0, 0)), ("b/1", 1, (1, 1, 1))]
    assert both.labels.dtype == np.int64


@given(
    st.lists(st.integers(3, 30), min_size=1, max_size=5),
    st.floats(0.001, 0.999),
    st.integers(0, 2**32 - 1),
    st.randoms(),
)
def test_two_parts_of_every_class_are_held_out(counts: list[int], share: float, seed: int, random: Random) -> None:
    drawn = [label for label, count in enumerate(counts) for _ in range(count)]
    random.shuffle(drawn)
    labels = np.array(drawn)
    parts = hold_out(labels, share, (seed, 7))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    kept, first, second = (np.bincount(labels[part], minlength=len(counts)) for part in parts)
    for label, count in enumerate(counts):
        assert first[label] + second[label] == min(max(round(share * count), 2), count - 1)
        assert 0 <= second[label] - first[label] <= 1
        assert kept[label] >= 1 and first[label] >= 1
    for part, again in zip(parts, hold_out(labels, share, (seed, 7)), strict=True):
        assert np.array_equal(part, again) and np.array_equal(part, np.sort(part))


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=80),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_two_parts_of_whole_groups_are_held_out(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    labels, groups = (np.array(column) for column in zip(*rows, strict=True))
    parts = grouped_hold_out(labels, groups, share, (seed, 7))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    members = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, members)) == len(set(groups.tolist()))
    assert set(labels[parts[0]].tolist()) == set(labels.tolist())
    for part, again in zip(parts, grouped_hold_out(labels, groups, share, (seed, 7)), strict=True):
        assert np.array_equal(part, again) and np.array_equal(part, np.sort(part))


@given(
    st.lists(st.sampled_from(["a", "b", None]), min_size=4, max_size=30),
    st.randoms(),
)
def test_groups_follow_their_images(groups: list[str | None], random: Random) -> None:
    split = with_groups(grays(len(groups)), groups)
    order = random.sample(range(len(groups)), k=len(groups) // 2)
    chosen = select(concatenate(split, grays(2)), np.array([*order, len(groups)]))
    assert groups_of(chosen) == (*(groups[index] for index in order), None)
    assert [chosen.name(place) for place in range(len(order))] == [split.name(index) for index in order]
    assert groups_of(select(grays(4), np.array([1]))) is None


def test_other_labels_stay_with_their_images() -> None:
    split = with_labels(with_groups(grays(3), ["a", None, "b"]), np.array([7, 5, 6]))
    chosen = select(split, np.array([2, 0]))
    assert chosen.labels.tolist() == [6, 7]
    assert [chosen.name(place) for place in range(2)] == ["grays/2", "grays/0"]
    assert [chosen.open(place).getpixel((0, 0)) for place in range(2)] == [(2, 2, 2), (0, 0, 0)]
    assert groups_of(chosen) == ("b", "a")
    with pytest.raises(ValueError, match="3 images cannot have 2 labels"):
        with_labels(grays(3), np.array([1, 2]))


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30))
def test_numbers_are_equal_where_groups_are(groups: list[str | None]) -> None:
    numbers = number_groups(groups)
    assert (numbers is None) == (set(groups) <= {None})
    if numbers is not None:
        same = [
            [one == other and (one is not None or i == j) for j, other in enumerate(groups)]
            for i, one in enumerate(groups)
        ]
        assert np.array_equal(numbers[:, None] == numbers[None], np.array(same))


def test_a_class_of_two_cannot_be_in_three_parts() -> None:
    with pytest.raises(ValueError, match="2 images of class 1"):
        hold_out(np.array([0, 0, 0, 1, 1]), 0.5, (0,))


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=80),
    fraction=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_grouped_split_parts_no_group_and_empties_no_class(
    rows: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    labels, groups = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    kept, held_out = grouped_split(labels, groups, fraction, seed)
    assert sorted([*kept.tolist(), *held_out.tolist()]) == list(range(len(rows)))
    assert not set(groups[kept].tolist()) & set(groups[held_out].tolist())
    assert set(labels[kept].tolist()) == set(labels.tolist())
    for one, other in zip((kept, held_out), grouped_split(labels, groups, fraction, seed), strict=True):
        assert np.array_equal(one, other)


def test_grouped_split_holds_out_about_the_fraction_of_every_class() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 100, 2000)
    labels = generator.integers(0, 5, 2000)
    _, held_out = grouped_split(labels, groups, 0.2, 1)
    shares = np.bincount(labels[held_out], minlength=5) / np.bincount(labels, minlength=5)
    assert np.all(np.abs(shares - 0.2) < 0.03)
    assert not np.array_equal(held_out, grouped_split(labels, groups, 0.2, 2)[1])


def test_grouped_split_of_two_large_groups_holds_out_one() -> None:
    labels = np.array([0, 1, 0, 1])
    kept, held_out = grouped_split(labels, np.array([7, 7, 8, 8]), 0.1, 0)
    assert len(kept) == len(held_out) == 2
