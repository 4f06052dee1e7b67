from __future__ import annotations

import hashlib
from itertools import combinations, product
from math import pi

import numpy as np
import pytest

from noah.data.sources.drawn.sprites import (
    DRAWING,
    FACTORS,
    IMAGES,
    ORIENTATIONS,
    POSITIONS,
    SCALES,
    SHAPES,
    Sprite,
    draw_sprite,
    sprite,
    sprite_level,
)

SQUARE, ELLIPSE, HEART = range(3)
CENTER = {"x": 15, "y": 15}
AREAS = (21.6**2, pi * 14.8 * 7.4, 16**2 * (1 + pi / 4))
"""Of the outlines at scale 1, in square pixels."""


def draw(shape: int, scale: int = 5, orientation: int = 0, x: int = 15, y: int = 15) -> np.ndarray:
    return draw_sprite(Sprite(shape, scale, orientation, x, y).number) > 0


def centroid(inside: np.ndarray) -> np.ndarray:
    """(column, row) of the mean pixel, from the left and upper edge of the frame."""
    rows, columns = np.nonzero(inside)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def turned(inside: np.ndarray, quarters: int) -> np.ndarray:
    """Turned about the pixel (31, 31), on which a shape at 15, 15 is centered."""
    middle = inside[:63, :63]
    return np.pad(np.rot90(middle, quarters), ((0, 1), (0, 1)))


def test_parameters_and_numbers_are_those_published() -> None:
    assert np.prod(FACTORS) == IMAGES == 737_280
    assert SCALES.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1])
    assert len(ORIENTATIONS) == 40 and ORIENTATIONS[0] == 0 and ORIENTATIONS[-1] == 2 * pi
    assert sprite(0) == Sprite(0, 0, 0, 0, 0) and sprite(1) == Sprite(0, 0, 0, 0, 1)
    assert sprite(32) == Sprite(0, 0, 0, 1, 0) and sprite(IMAGES - 1) == Sprite(2, 5, 39, 31, 31)
    assert all(sprite(number).number == number for number in range(0, IMAGES, 7919))
    for wrong in (-1, IMAGES):
        with pytest.raises(ValueError):
            draw_sprite(wrong)


def test_pixels_are_black_or_white() -> None:
    for shape, scale in product(range(3), range(6)):
        image = draw_sprite(Sprite(shape, scale, 7, 3, 28).number)
        assert image.dtype == np.uint8 and image.shape == (64, 64) and np.unique(image).tolist() == [0, 255]


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_the_center_of_mass_moves_evenly_over_31_pixels_about_the_middle(shape: int) -> None:
    for orientation in (0, 11, 26):
        places = np.array([centroid(draw(shape, 3, orientation, p, 31 - p)) for p in range(POSITIONS)])
        across, down = places[:, 0], places[::-1, 1]
        for along in (across, down):
            slope, _ = np.polyfit(np.arange(POSITIONS), along, 1)
            assert slope == pytest.approx(1)
            assert np.abs(along - (16.5 + np.arange(POSITIONS))).max() < 0.25
            assert (along[0] + along[-1]) / 2 == pytest.approx(32, abs=0.25)


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_the_area_grows_with_the_square_of_the_scale(shape: int) -> None:
    for index, scale in enumerate(SCALES):
        areas = [draw(shape, index, orientation).sum() for orientation in range(39)]
        assert np.mean(areas) == pytest.approx(AREAS[shape] * scale**2, rel=0.02)
        assert np.ptp(areas) < 0.15 * np.mean(areas)


@pytest.mark.parametrize("shape", range(3), ids=SHAPES)
def test_orientations_look_alike_only_at_both_ends_and_within_a_step_of_a_symmetry(shape: int) -> None:
    period = (39 / 4, 39 / 2, 39)[shape]
    for scale in range(6):
        images = [draw(shape, scale, orientation).tobytes() for orientation in range(40)]
        assert images[0] == images[39] and len(set(images)) >= (24, 37, 39)[shape]
        for one, other in combinations(range(40), 2):
            if images[one] == images[other]:
                turns = (other - one) / period
                assert abs(turns - round(turns)) * period < 1.01


def test_symmetries() -> None:
    for scale in range(6):
        square, ellipse, heart = (draw(shape, scale) for shape in range(3))
        assert np.array_equal(square, turned(square, 1))
        assert np.array_equal(ellipse, turned(ellipse, 2)) and not np.array_equal(ellipse, turned(ellipse, 1))
        assert not any(np.array_equal(heart, turned(heart, quarters)) for quarters in (1, 2, 3))
        assert np.array_equal(heart[:, :63], heart[:, 62::-1])


def test_orientations_turn_counterclockwise_and_the_heart_stands_on_its_tip() -> None:
    heart = draw(HEART)
    lowest, highest = (heart[np.flatnonzero(heart.any(axis=1))[end]] for end in (-1, 0))
    assert lowest.sum() == 1 and highest.sum() % 2 == 0 and not highest[31]
    rows, columns = np.nonzero(draw(ELLIPSE, orientation=5))  # 46 degrees: from lower left to upper right.
    assert np.corrcoef(columns, rows)[0, 1] < -0.5
    tip = np.argmax(np.hypot(*(np.indices((64, 64)) - 31)) * draw(HEART, orientation=10))
    assert divmod(int(tip), 64)[1] > 31 + 12  # 92 degrees: the tip points to the right.


def test_nothing_comes_near_the_frame() -> None:
    frame = np.ones((64, 64), bool)
    frame[1:-1, 1:-1] = False
    for shape, orientation, x, y in product(range(3), range(40), (0, 31), (0, 31)):
        inside = draw(shape, 5, orientation, x, y)
        assert inside.sum() > 300 and not (inside & frame).any()


def test_a_shape_moves_by_whole_pixels() -> None:
    for shape in range(3):
        assert np.array_equal(draw(shape, 2, 17, 20, 9), np.roll(draw(shape, 2, 17), (-6, 5), axis=(0, 1)))


def test_no_pixel_is_in_doubt_so_that_every_machine_draws_the_same() -> None:
    everything = hashlib.sha256()
    for shape, scale, orientation in product(range(3), range(6), range(40)):
        drawn = Sprite(shape, scale, orientation, **CENTER)
        assert np.abs(sprite_level(drawn)).min() > 1e-4
        everything.update(draw_sprite(drawn.number).tobytes())
    # Where the pixels change on purpose, both change: runs of the old images are then not taken for runs of the new.
    assert (DRAWING, everything.hexdigest()[:16]) == (1, "481a4a429ccd8b63")
