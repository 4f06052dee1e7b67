"""Scenes of separate colored shapes on a textured background; only the number of shapes is prescribed."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt

import numpy as np

from noah.data.sources.drawn.grounds import Ground

SIZE = 64
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change to them, be it here or in the seeds and counts of `shapes_count`:
runs use it to tell which images they were made with."""

MOST_SHAPES = 10
"""There might be no room for more."""

GAP = 2.5
"""The least distance in pixels between the circles around two shapes."""

CONTRAST = 70.0
"""The least distance in RGB, 0..255 per channel, between the color of a shape and that of any background pixel."""

AREA = (300.0, 640.0)
"""How many pixels an image's shapes cover in total, whatever their number; a little less if they do not all fit."""

_CORNERS = (0, 3, 4, 5)  # The corners of each kind of shape, all regular; 0 is a disc.
_MARGIN = 1.0  # The least distance in pixels between the circle around a shape and the frame.
_TRIES = 40  # How many places are tried for a shape before starting over.
_SHRINKING = 0.98  # The factor by which the area shrinks each time everything starts over.


@dataclass(frozen=True, slots=True)
class Shape:
    """A disc or a regular polygon, in pixels from the left and upper edges; pixel 0 has its center at 0.5.

    Attributes:
        corners: The number of corners; 0 for a disc.
        x: The center's distance from the left edge.
        y: The center's distance from the upper edge.
        radius: The radius of the disc, or of the circle through the corners.
        turn: Clockwise angle in radians from the x axis to the middle of a side.
    """

    corners: int
    x: float
    y: float
    radius: float
    turn: float

    @property
    def area(self) -> float:
        """The area in square pixels."""
        return _unit_area(self.corners) * self.radius**2

    def coverage(self) -> np.ndarray:
        """Estimate how much of each pixel the shape covers, from the distance of the pixel's center to the outline.

        Returns:
            float64, (64, 64), from 0 to 1; 0.5 or more where the center is inside.
        """
        x, y = (np.arange(SIZE) + 0.5)[None, :] - self.x, (np.arange(SIZE) + 0.5)[:, None] - self.y
        if self.corners == 0:
            outside = np.hypot(x, y) - self.radius
        else:
            normals = [self.turn + 2 * pi * side / self.corners for side in range(self.corners)]
            sides = np.stack([x * cos(angle) + y * sin(angle) for angle in normals])
            outside = sides.max(axis=0) - self.radius * cos(pi / self.corners)
        covered: np.ndarray = np.clip(0.5 - outside, 0, 1)
        return covered


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image and what it is made of.

    Attributes:
        image: uint8, (64, 64, 3), RGB.
        ground: The same image without shapes.
        shapes: The shapes from the largest to the smallest.
        colors: float64, (number of shapes, 3), RGB from 0 to 255.
    """

    image: np.ndarray
    ground: np.ndarray
    shapes: tuple[Shape, ...]
    colors: np.ndarray


def waves(generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw plane waves of random lengths and tints around a base color, and grain; float64, (size, size, 3), 7..248."""
    number = 6
    places = np.arange(size)
    texture = np.zeros((size, size, 3))
    for length, angle, phase, strength in generator.random((number, 4)):
        wavenumber = 2 * pi / (6 * 12**length)  # Wavelengths of 6 to 72 pixels.
        x, y = wavenumber * cos(2 * pi * angle) * places, wavenumber * sin(2 * pi * angle) * places
        wave = np.sin(x[None, :] + y[:, None] + 2 * pi * phase)
        texture += strength**2 * wave[..., None] * (generator.random(3) * 2 - 1)
    texture *= (15 + 30 * generator.random()) / np.abs(texture).max()
    grain = 8 * generator.random() * (generator.random((size, size, 1)) * 2 - 1)
    ground: np.ndarray = 60 + 135 * generator.random(3) + texture + grain
    return ground


def draw_scene(count: int, generator: np.random.Generator, paint: Ground = waves) -> Scene:
    """Draw `count` shapes, with edges smoothed over one pixel; everything else depends on the generator alone.

    Args:
        count: How many shapes.
        generator: Decides everything else.
        paint: Draws the ground; none of its channels may vary by more than 106, or shapes might be hard to see.

    Raises:
        ValueError: If the count is not in 1..10.
    """
    if not 1 <= count <= MOST_SHAPES:
        raise ValueError(f"A scene has 1 to {MOST_SHAPES} shapes, not {count}")
    ground = paint(generator, SIZE)
    shapes = _place(count, generator)
    colors = _colors(count, ground, generator)
    image = ground.copy()
    for shape, color in zip(shapes, colors, strict=True):
        image += shape.coverage()[..., None] * (color - image)
    return Scene(np.rint(image).astype(np.uint8), np.rint(ground).astype(np.uint8), shapes, colors)


def _place(count: int, generator: np.random.Generator) -> tuple[Shape, ...]:
    """Place shapes of random kinds and sizes with their circles apart; start over, a little smaller, until all fit."""
    area = AREA[0] + (AREA[1] - AREA[0]) * generator.random()
    while True:
        shares = 0.5 + generator.random(count)
        corners = generator.integers(len(_CORNERS), size=count)
        areas = area * shares / shares.sum()
        sizes = [(sqrt(a / _unit_area(_CORNERS[c])), _CORNERS[c]) for a, c in zip(areas, corners, strict=True)]
        shapes: list[Shape] = []
        for radius, kind in sorted(sizes, reverse=True):
            shape = _find_room(radius, kind, shapes, generator)
            if shape is None:
                break
            shapes.append(shape)
        else:
            return tuple(shapes)
        area *= _SHRINKING


def _find_room(radius: float, corners: int, others: list[Shape], generator: np.random.Generator) -> Shape | None:
    """Try random places, and take the first that is far enough from the frame and other shapes; None if none is."""
    turn = 2 * pi * generator.random()
    nearest = radius + _MARGIN
    for x, y in nearest + (SIZE - 2 * nearest) * generator.random((_TRIES, 2)):
        if all(hypot(x - other.x, y - other.y) >= radius + other.radius + GAP for other in others):
            return Shape(corners, float(x), float(y), radius, turn)
    return None


def _colors(count: int, ground: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Choose a color for each shape, far from the box of all background colors; float64, (count, 3).

    If none of a few random colors is far enough, take the corner of the RGB cube opposite the background's middle,
    which always is: it is at least 72 away from the box in each channel.
    """
    low, high = ground.min(axis=(0, 1)), ground.max(axis=(0, 1))
    opposite = np.where(low + high < 255, 255.0, 0.0)
    candidates = 255 * generator.random((count, 12, 3))
    away = np.maximum(np.maximum(low - candidates, candidates - high), 0)
    distance = np.sqrt((away**2).sum(axis=-1))
    colors = np.tile(opposite, (count, 1))
    for shape in range(count):
        far = np.flatnonzero(distance[shape] >= CONTRAST)
        if far.size:
            colors[shape] = candidates[shape, far[0]]
    return colors


def _unit_area(corners: int) -> float:
    """The area of a disc or a regular polygon in a circle of radius 1."""
    return pi if corners == 0 else corners / 2 * sin(2 * pi / corners)
