from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label
from sklearn.tree import DecisionTreeClassifier

from noah.data.sources.drawn.shape_scene import AREA, CONTRAST, DRAWING, GAP, Scene
from noah.data.sources.drawn.shapes_count import load_shapes_count, scene

ALL_NEIGHBORS = np.ones((3, 3), int)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(number) for number in range(2000)]


@pytest.fixture(scope="module")
def coverage(scenes: list[Scene]) -> list[np.ndarray]:
    """Of each shape of each scene, (number of shapes, 64, 64)."""
    return [np.stack([shape.coverage() for shape in drawn.shapes]) for drawn in scenes]


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """How many shapes each scene is said to have."""
    return np.arange(2000) % 8 + 3


def test_every_split_is_balanced() -> None:
    dataset = load_shapes_count()
    assert dataset.name == "shapes_count" and dataset.classes == ("3", "4", "5", "6", "7", "8", "9", "10")
    for split, each in ((dataset.train, 100), (dataset.validation, 25), (dataset.load_test(), 125)):
        assert np.bincount(split.labels).tolist() == [each] * 8
    assert "accuracies are not comparable" in dataset.notes[0] and "1,000 to test on" in dataset.notes[1]


def test_as_many_shapes_as_the_label_says(coverage: list[np.ndarray], counts: np.ndarray) -> None:
    for covered, count in zip(coverage, counts, strict=True):
        mask = (covered >= 0.5).any(axis=0)
        assert label(mask, ALL_NEIGHBORS)[1] == len(covered) == count


def test_shapes_neither_overlap_nor_touch_nor_leave_the_frame(coverage: list[np.ndarray]) -> None:
    assert GAP > 2**0.5  # So that centers of pixels in two shapes are never next to each other.
    for covered in coverage:
        assert (covered >= 0.5).sum(axis=0).max() == 1 and covered.sum(axis=0).max() <= 1
        mask = covered.max(axis=0) >= 0.5
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def test_shapes_can_be_seen(scenes: list[Scene], coverage: list[np.ndarray]) -> None:
    for drawn, covered in zip(scenes, coverage, strict=True):
        assert (covered >= 1).sum(axis=(1, 2)).min() >= 4 and covered.sum(axis=(1, 2)).min() >= 10
        distance = np.sqrt(((drawn.ground - drawn.colors[:, None, None]) ** 2).sum(axis=-1))
        assert distance.min() >= CONTRAST - 1  # The ground is rounded.
        inside, outside = (covered >= 1).any(axis=0), ~(covered > 0).any(axis=0)
        assert np.array_equal(drawn.image[outside], drawn.ground[outside])
        change = np.abs(drawn.image.astype(int) - drawn.ground).max(axis=-1)
        assert change[inside].min() >= (CONTRAST - 2) / 3**0.5
        for shape, color in zip(covered, drawn.colors, strict=True):
            assert np.abs(drawn.image[shape >= 1] - color).max() <= 0.5


def test_the_ground_has_a_texture_and_no_clipped_color(scenes: list[Scene]) -> None:
    for drawn in scenes:
        assert drawn.ground.std(axis=(0, 1)).max() > 2
        assert drawn.ground.min() > 0 and drawn.ground.max() < 255


def test_the_area_does_not_tell_the_count(coverage: list[np.ndarray], counts: np.ndarray) -> None:
    areas = np.array([covered.sum() for covered in coverage])
    assert areas.min() > AREA[0] * 0.8 and areas.max() < AREA[1] * 1.02
    tree = DecisionTreeClassifier(max_depth=4).fit(areas[:1000, None], counts[:1000])
    assert tree.score(areas[1000:, None], counts[1000:]) < 0.2  # Chance is 0.125.
    assert np.ptp([areas[counts == count].mean() for count in range(3, 11)]) < 0.3 * areas.std()


def test_sizes_of_few_and_of_many_shapes_overlap(scenes: list[Scene], counts: np.ndarray) -> None:
    areas = {count: [s.area for i in np.flatnonzero(counts == count) for s in scenes[i].shapes] for count in (3, 6, 10)}
    assert min(areas[3]) < np.median(areas[6]) < max(areas[10])


def test_images_differ_and_depend_on_nothing_but_their_number(scenes: list[Scene]) -> None:
    assert len({drawn.image.tobytes() for drawn in scenes}) == 2000
    split = load_shapes_count().validation
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(split.open, reversed(range(200))))
    for index, image in zip(reversed(range(200)), opened, strict=True):
        assert image.mode == "RGB" and image.size == (64, 64)
        assert split.name(index) == f"shapes_count/v{DRAWING}-{800 + index}"
        assert np.array_equal(np.asarray(image), scenes[800 + index].image)


def test_the_drawing_never_changes_without_its_version(scenes: list[Scene]) -> None:
    """Where it changes on purpose, version and figures change: runs of the old images are not taken for new ones.

    Parameters are rounded to a thousandth. None lies so close to the edge between two roundings, nor any color of a
    pixel, that the last digits of sines and roots, which differ between machines, could move it across.
    """
    parameters, pixels = hashlib.sha256(), hashlib.sha256()
    for drawn in scenes[:16]:
        shapes = [(s.corners, s.x, s.y, s.radius, s.turn) for s in drawn.shapes]
        thousandths = 1000 * np.concatenate([np.array(shapes), drawn.colors], axis=1)
        assert np.abs(thousandths % 1 - 0.5).min() > 1e-6
        parameters.update(np.rint(thousandths).astype("<i8").tobytes())
        pixels.update(drawn.ground.tobytes() + drawn.image.tobytes())
    found = DRAWING, parameters.hexdigest()[:16], pixels.hexdigest()[:16]
    assert found == (1, "863bc10f876a5007", "8f2b8a80526e7e78")


def test_neighboring_pixels_of_the_ground_tell_a_shape_apart(scenes: list[Scene], coverage: list[np.ndarray]) -> None:
    """A ring of pure ground lies around each shape's smoothed edge, somewhere on all its sides."""
    for drawn, covered in zip(scenes[:200], coverage, strict=False):
        for shape in covered:
            ring = binary_dilation(shape > 0, ALL_NEIGHBORS) & ~(covered > 0).any(axis=0)
            assert ring.sum() >= 8
            assert np.array_equal(drawn.image[ring], drawn.ground[ring])


def test_a_number_below_zero_is_refused() -> None:
    with pytest.raises(ValueError):
        scene(-1)
