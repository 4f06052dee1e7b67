"""Scenes of separate colored shapes on a textured ground; how many shapes there are is the only thing given."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt

import numpy as np

SIZE = 64
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change of them, here or by the seeds and counts of `shapes_count`: runs
tell by it which images they were made with."""

MOST_SHAPES = 10
"""More might find no room."""

GAP = 2.5
"""Pixels at least between the circles about two shapes."""

CONTRAST = 70.0
"""Distance in RGB, of 0..255 each, at least between the color of a shape and that of any pixel of the ground."""

AREA = (300.0, 640.0)
"""Pixels that the shapes of an image cover in all, whatever their number; a little less where they found no room."""

_CORNERS = (0, 3, 4, 5)  # Of each kind of shape, all regular; 0 is a disc.
_MARGIN = 1.0  # Pixels at least between a circle about a shape and the frame.
_TRIES = 40  # Places tried for a shape, before everything is drawn anew.
_SHRINKING = 0.98  # Of the area, each time that everything is drawn anew.


@dataclass(frozen=True, slots=True)
class Shape:
    """A disc or a regular polygon, in pixels from the left and upper edge; pixel 0 has its center at 0.5.

    Attributes:
        corners: 0 for a disc.
        x: Of the center, to the right.
        y: Of the center, downwards.
        radius: Of the circle through the corners, or of the disc.
        turn: Radians from the x axis to the middle of a side, clockwise.
    """

    corners: int
    x: float
    y: float
    radius: float
    turn: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return _unit_area(self.corners) * self.radius**2

    def coverage(self) -> np.ndarray:
        """How much of each pixel the shape covers, from the distance of the pixel's center to the outline.

        Returns:
            float64 (64, 64), from 0 to 1; 0.5 and more where the center is inside.
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
        image: uint8 (64, 64, 3), RGB.
        ground: The same without shapes.
        shapes: From the largest to the smallest.
        colors: float64 (number of shapes, 3), RGB of 0..255.
    """

    image: np.ndarray
    ground: np.ndarray
    shapes: tuple[Shape, ...]
    colors: np.ndarray


def draw_scene(count: int, generator: np.random.Generator) -> Scene:
    """Draw so many shapes, with edges smoothed over a pixel; the generator alone decides how they look.

    Args:
        count: 1 to 10.
        generator: Of everything that is random.

    Raises:
        ValueError: The count is not in 1..10.
    """
    if not 1 <= count <= MOST_SHAPES:
        raise ValueError(f"A scene has 1 to {MOST_SHAPES} shapes, not {count}")
    ground = _ground(generator)
    shapes = _place(count, generator)
    colors = _colors(count, ground, generator)
    image = ground.copy()
    for shape, color in zip(shapes, colors, strict=True):
        image += shape.coverage()[..., None] * (color - image)
    return Scene(np.rint(image).astype(np.uint8), np.rint(ground).astype(np.uint8), shapes, colors)


def _ground(generator: np.random.Generator) -> np.ndarray:
    """Plane waves of random lengths and tints about a middle color, and fine grain; float64 (64, 64, 3), 7..248."""
    waves = 6
    places = np.arange(SIZE)
    texture = np.zeros((SIZE, SIZE, 3))
    for length, angle, phase, strength in generator.random((waves, 4)):
        wavenumber = 2 * pi / (6 * 12**length)  # Lengths of 6 to 72 pixels.
        x, y = wavenumber * cos(2 * pi * angle) * places, wavenumber * sin(2 * pi * angle) * places
        wave = np.sin(x[None, :] + y[:, None] + 2 * pi * phase)
        texture += strength**2 * wave[..., None] * (generator.random(3) * 2 - 1)
    texture *= (15 + 30 * generator.random()) / np.abs(texture).max()
    grain = 8 * generator.random() * (generator.random((SIZE, SIZE, 1)) * 2 - 1)
    ground: np.ndarray = 60 + 135 * generator.random(3) + texture + grain
    return ground


def _place(count: int, generator: np.random.Generator) -> tuple[Shape, ...]:
    """Shapes of random kinds and sizes whose circles keep apart; drawn anew, a little smaller, until all have room."""
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
    """The first of some random places that is far enough from the frame and from other shapes, if there is one."""
    turn = 2 * pi * generator.random()
    nearest = radius + _MARGIN
    for x, y in nearest + (SIZE - 2 * nearest) * generator.random((_TRIES, 2)):
        if all(hypot(x - other.x, y - other.y) >= radius + other.radius + GAP for other in others):
            return Shape(corners, float(x), float(y), radius, turn)
    return None


def _colors(count: int, ground: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A color for each shape that is far from the box of all colors of the ground; float64 (count, 3).

    Where none of some random colors is, it is the corner of the RGB cube across from the ground's middle, which always
    is: the box leaves 72 or more to it in each channel.
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
    """Of a disc or a regular polygon in a circle of radius 1."""
    return pi if corners == 0 else corners / 2 * sin(2 * pi / corners)
