from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from noah.data.sources.drawn import faces
from noah.data.sources.drawn.dsprites import load_dsprites_location
from noah.data.sources.drawn.grounds import any_of, checks, gradient, soft_noise, stripes
from noah.data.sources.drawn.shapes_count import load_shapes_count, scene
from noah.data.sources.drawn.shifts import SHIFTS, Shift, find_shift
from noah.data.split import Split
from noah.errors import MissingPackageError

BY_NAME = {shift.name: shift for shift in SHIFTS}


def pixels(split: Split, count: int) -> list[np.ndarray]:
    return [np.asarray(split.open(index)) for index in range(count)]


def test_names() -> None:
    assert len(BY_NAME) == len(SHIFTS) == 6
    assert find_shift("Rendered-Digits") is BY_NAME["rendered_digits"] and find_shift("digits") is None


@pytest.mark.parametrize("shift", SHIFTS, ids=BY_NAME)
def test_it_has_the_classes_of_its_source_and_other_test_images(shift: Shift) -> None:
    source, shifted = shift.load_source(), shift.load()
    assert source.name == shift.source and shifted.name == shift.name
    assert shifted.classes == source.classes and len(shifted.classes) == shift.classes
    assert shift.source in shifted.notes[0]
    test, theirs = shifted.load_test(), source.load_test()
    assert len(test) == 1000 and set(test.labels) == set(range(shift.classes))
    if shift.name != "rendered_digits":  # Its source is handwritten, so no image corresponds to another.
        assert np.array_equal(test.labels, theirs.labels)
        assert [test.name(i).rpartition("-")[2] for i in range(9)] == [
            theirs.name(i).rpartition("-")[2] for i in range(9)
        ]
    assert all(test.name(index).startswith(f"{shift.name}/v") for index in range(1000))
    for one, again, other in zip(pixels(test, 8), pixels(shift.load().load_test(), 8), pixels(theirs, 8), strict=True):
        assert np.array_equal(one, again)
        assert one.shape == other.shape and not np.array_equal(one, other)


@pytest.mark.parametrize("shift", SHIFTS, ids=BY_NAME)
def test_matplotlib_is_needed_for_letters_and_digits_only(shift: Shift, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    if shift.needs_fonts:
        with pytest.raises(MissingPackageError, match="fonts of matplotlib, which is not installed"):
            shift.load()
    else:
        shift.load().load_test().open(0)


def test_labels_are_balanced_where_the_source_is() -> None:
    for shift in SHIFTS:
        counts = np.bincount(shift.load().load_test().labels)
        assert np.ptp(counts) <= 1 or shift.source == "rendered_dsprites_loc"


def test_the_other_grounds_have_as_many_shapes_in_sight() -> None:
    test = BY_NAME["shapes_count_grounds"].load().load_test()
    labels = load_shapes_count().load_test().labels
    for index in range(100):
        drawn = scene(1000 + index, partial(any_of, (gradient, soft_noise, checks, stripes)))
        assert len(drawn.shapes) == labels[index] + 3
        distance = np.sqrt(((drawn.ground - drawn.colors[:, None, None]) ** 2).sum(axis=-1))
        assert distance.min() >= 69
        assert np.array_equal(np.asarray(test.open(index)), drawn.image)


def test_a_sprite_stands_out_from_its_noise() -> None:
    source, test = load_dsprites_location().load_test(), BY_NAME["rendered_dsprites_loc_noise"].load().load_test()
    for index in range(50):
        plain, noisy = np.asarray(source.open(index))[..., 0] > 0, np.asarray(test.open(index))[..., 0]
        assert noisy[plain].min() >= 95 and noisy[~plain].max() <= 160
        assert noisy[plain].mean() - noisy[~plain].mean() > 80
        assert noisy[~plain].std() > 40
