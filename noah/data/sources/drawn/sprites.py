"""White shapes on black, drawn from the published parameters of dSprites.

dSprites (Matthey et al., 2017) has one image for each combination of 3 shapes, 6 scales, 40 orientations and 32 x 32
positions. Its images are numbered with the vertical position changing fastest, then the horizontal one, the
orientation, the scale and the shape; numbers here mean the same combinations. The shapes themselves are noah's own:
their sizes and the curve of the heart are close to the published images, but no pixel is taken from them. All published
images are said to differ; here a square or the smallest ellipse may look the same at two orientations that, apart from
the symmetry, are at most one step apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np

SIZE = 64
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change to them: runs use it to tell which images they were made with."""

SHAPES = ("square", "ellipse", "heart")
SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.linspace(0, 2 * pi, 40)
"""In radians; as published, both ends are included, so the first and the last give the same images."""

POSITIONS = 32
FACTORS = (len(SHAPES), len(SCALES), len(ORIENTATIONS), POSITIONS, POSITIONS)
IMAGES = 737_280
"""The product of the factors."""

# In pixels at scale 1. No image has a pixel center on an outline, so rounding on another machine changes nothing.
_SQUARE_HALF_SIDE = 10.8
_ELLIPSE_HALF_WIDTH, _ELLIPSE_HALF_HEIGHT = 14.8, 7.4
_HEART_HALF_SIDE = 8.0
_FIRST_POSITION = 16  # The column or row of pixels on which a shape at position 0 is centered; position 31 is at 47.


@dataclass(frozen=True, slots=True)
class Sprite:
    """What an image shows; each attribute is an index into the published values.

    Attributes:
        shape: 0..2, into `SHAPES`.
        scale: 0..5, into `SCALES`.
        orientation: 0..39, into `ORIENTATIONS`.
        x: 0..31, from left to right.
        y: 0..31, from top to bottom.
    """

    shape: int
    scale: int
    orientation: int
    x: int
    y: int

    @property
    def number(self) -> int:
        """The image's number, 0..737279; the inverse of `sprite`."""
        return int(np.ravel_multi_index((self.shape, self.scale, self.orientation, self.x, self.y), FACTORS))


def sprite(number: int) -> Sprite:
    """Decode an image's number into what the image shows.

    Raises:
        ValueError: If the number is not in 0..737279.
    """
    return Sprite(*(int(index) for index in np.unravel_index(number, FACTORS)))


def draw_sprite(number: int) -> np.ndarray:
    """Draw one image; a pixel is white if its center is inside the shape.

    Returns:
        uint8, (64, 64), 0 or 255.

    Raises:
        ValueError: If the number is not in 0..737279.
    """
    pixels: np.ndarray = np.where(sprite_level(sprite(number)) < 0, np.uint8(255), np.uint8(0))
    return pixels


def sprite_level(drawn: Sprite) -> np.ndarray:
    """Compute how far outside the shape each pixel's center is: below 0 inside, 0 on the outline, above 0 outside.

    Orientations turn counterclockwise around the shape's center of mass; at orientation 0 the heart is upright.

    Returns:
        float64, (64, 64), in pixels at scale 1 (less along the ellipse's long axis).
    """
    right = np.arange(SIZE)[None, :] - (_FIRST_POSITION + drawn.x)
    up = (_FIRST_POSITION + drawn.y) - np.arange(SIZE)[:, None]
    scale, angle = float(SCALES[drawn.scale]), float(ORIENTATIONS[drawn.orientation])
    u = (right * cos(angle) + up * sin(angle)) / scale
    v = (up * cos(angle) - right * sin(angle)) / scale
    return (_square, _ellipse, _heart)[drawn.shape](u, v)


def _square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    level: np.ndarray = np.maximum(np.abs(u), np.abs(v)) - _SQUARE_HALF_SIDE
    return level


def _ellipse(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    level: np.ndarray = np.hypot(u * (_ELLIPSE_HALF_HEIGHT / _ELLIPSE_HALF_WIDTH), v) - _ELLIPSE_HALF_HEIGHT
    return level


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square on its corner, with a disc on each upper side that has this side as its diameter.

    The half discs outside the square lift the center of mass above the square's, by sqrt(2) (3 pi + 4) / (6 (pi + 4))
    of half a side.
    """
    half = _HEART_HALF_SIDE
    v = v + half * sqrt(2) * (3 * pi + 4) / (6 * (pi + 4))
    p, q = (u + v) / sqrt(2), (v - u) / sqrt(2)
    square = np.maximum(np.abs(p), np.abs(q))
    level: np.ndarray = np.minimum(square, np.minimum(np.hypot(p - half, q), np.hypot(p, q - half))) - half
    return level
