from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy.ndimage import label

from noah.data.sources.drawn.shape_scene import DRAWING, Scene
from noah.data.sources.drawn.shapes_largest import KINDS, LARGER, load_shapes_largest, scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(number) for number in range(96)]


def test_every_split_is_balanced() -> None:
    dataset = load_shapes_largest()
    assert dataset.name == "shapes_largest" and dataset.classes == ("disc", "triangle", "square", "pentagon")
    for split, each in ((dataset.train, 200), (dataset.validation, 50), (dataset.load_test(), 250)):
        assert np.bincount(split.labels).tolist() == [each] * 4


def test_the_largest_region_of_an_image_is_of_the_kind_that_the_label_says(scenes: list[Scene]) -> None:
    for number, drawn in enumerate(scenes):
        covered = np.stack([shape.coverage() for shape in drawn.shapes])
        regions, found = label((covered >= 0.5).any(axis=0), np.ones((3, 3), int))
        sizes = np.bincount(regions.ravel())[1:]
        assert found == len(drawn.shapes)
        second, first = np.sort(sizes)[-2:]
        assert first > second
        place = regions == 1 + int(sizes.argmax())
        shape = max(drawn.shapes, key=lambda shape: float(shape.coverage()[place].sum()))
        assert shape.corners == tuple(KINDS)[number % 4]
        areas = sorted(shape.area for shape in drawn.shapes)
        assert areas[-1] >= LARGER * areas[-2]


def test_neither_the_number_of_shapes_nor_the_area_tells_the_kind(scenes: list[Scene]) -> None:
    for corners in range(4):
        of_kind = [drawn for number, drawn in enumerate(scenes) if number % 4 == corners]
        assert np.bincount([len(drawn.shapes) for drawn in of_kind])[3:].tolist() == [8, 8, 8]
        assert {shape.corners for drawn in of_kind for shape in drawn.shapes} == set(KINDS)


def test_images_differ_and_depend_on_nothing_but_their_number(scenes: list[Scene]) -> None:
    assert len({drawn.image.tobytes() for drawn in scenes}) == len(scenes)
    split = load_shapes_largest().train
    for index in (95, 40, 0):
        assert np.array_equal(np.asarray(split.open(index)), scenes[index].image)


def test_the_drawing_never_changes_without_its_version(scenes: list[Scene]) -> None:
    pixels = hashlib.sha256(b"".join(drawn.image.tobytes() for drawn in scenes[:16]))
    assert (DRAWING, pixels.hexdigest()[:16]) == (1, "2b20993059c74a09")


def test_a_number_below_zero_is_refused() -> None:
    with pytest.raises(ValueError):
        scene(-1)
