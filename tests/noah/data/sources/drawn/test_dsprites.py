from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from noah.data.dataset import Dataset
from noah.data.sources.drawn.dsprites import load_dsprites_location, load_dsprites_orientation, sample
from noah.data.sources.drawn.sprites import DRAWING, Sprite, draw_sprite, sprite
from noah.data.split import Split

LOADERS = (load_dsprites_location, load_dsprites_orientation)


def splits(dataset: Dataset) -> tuple[Split, Split, Split]:
    return dataset.train, dataset.validation, dataset.load_test()


def shown(split: Split) -> list[Sprite]:
    return [sprite(int(split.name(index).rpartition("-")[2])) for index in range(len(split))]


def test_names_and_classes() -> None:
    location, orientation = (load() for load in LOADERS)
    assert (location.name, orientation.name) == ("rendered_dsprites_loc", "rendered_dsprites_ori")
    assert location.classes[:2] == ("x 0-1", "x 2-3") and location.classes[15] == "x 30-31"
    assert orientation.classes[:2] == ("0-18 degrees", "28-37 degrees") and orientation.classes[15] == "351-360 degrees"
    assert len(set(location.classes)) == len(set(orientation.classes)) == 16


def test_labels_follow_the_parameters() -> None:
    for location, orientation in zip(*(splits(load()) for load in LOADERS), strict=True):
        assert location.labels.tolist() == [one.x // 2 for one in shown(location)]
        assert orientation.labels.tolist() == [int(one.orientation / 2.5) for one in shown(orientation)]
    assert load_dsprites_location().train.name(0).startswith(f"rendered_dsprites_loc/v{DRAWING}-")


def test_the_splits_are_apart_in_parameters_and_in_pixels() -> None:
    parts = splits(load_dsprites_location())
    assert [len(part) for part in parts] == [800, 200, 1000]
    together = [one for part in parts for one in shown(part)]
    assert len(set(together)) == len({draw_sprite(one.number).tobytes() for one in together}) == 2000


@pytest.mark.parametrize("load", LOADERS)
def test_every_class_is_in_every_split(load: Callable[[], Dataset]) -> None:
    for part in splits(load()):
        counts = np.bincount(part.labels, minlength=16)
        assert len(counts) == 16 and counts.min() >= len(part) / 16 / 2.5 and counts.max() <= len(part) / 16 * 2


def test_the_sample_is_uniform_and_never_changes() -> None:
    numbers = sample()
    assert numbers.dtype == np.int64 and numbers.min() >= 0 and numbers.max() < 737_280
    assert numbers[:3].tolist() == [372928, 597528, 667793]
    assert hashlib.sha256(numbers.astype("<i8").tobytes()).hexdigest()[:16] == "a7889269dfb9ea3b"
    for factor, values in (("shape", 3), ("scale", 6), ("orientation", 40), ("x", 32), ("y", 32)):
        counts = np.bincount([getattr(sprite(int(number)), factor) for number in numbers], minlength=values)
        expected = 2000 / values
        assert ((counts - expected) ** 2 / expected).sum() < values + 4 * np.sqrt(2 * values)


def test_an_image_is_the_sprite_of_its_name() -> None:
    test = load_dsprites_orientation().load_test()
    for index in (999, 0, 5, 0):
        image = test.open(index)
        assert image.mode == "RGB" and image.size == (64, 64)
        expected = draw_sprite(shown(test)[index].number)
        assert np.array_equal(np.asarray(image), np.repeat(expected[..., None], 3, axis=-1))


def test_notes_tell_that_it_is_not_vtabs() -> None:
    location, orientation = load_dsprites_location().notes, load_dsprites_orientation().notes
    assert "not those of VTAB-1k's dsprites_loc, and accuracies are not comparable" in location[0]
    assert "not those of VTAB-1k's dsprites_ori" in orientation[0] and "100 %" in orientation[1]
    assert "800 images to train on, 200 to validate on and 1,000 to test on" in location[-1]
