"""White shapes on black, drawn from the published parameters of dSprites.

dSprites (Matthey et al., 2017) has one image of each combination of 3 shapes, 6 scales, 40 orientations and 32 x 32
positions. Its images are numbered with the vertical position running fastest, then the horizontal one, the orientation,
the scale and the shape; numbers here mean the same combinations. The shapes themselves are noah's own: sizes and the
curve of the heart are close to the published images, and no pixel is taken from them. Where all published images are
said to differ, a square here, and the smallest ellipse, may look the same at two orientations that are at most a step
apart when the symmetry is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np

SIZE = 64
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change of them: runs tell by it which images they were made with."""

SHAPES = ("square", "ellipse", "heart")
SCALES = np.linspace(0.5, 1, 6)
ORIENTATIONS = np.linspace(0, 2 * pi, 40)
"""Radians; as published, both ends are there, so that the first and the last give the same images."""

POSITIONS = 32
FACTORS = (len(SHAPES), len(SCALES), len(ORIENTATIONS), POSITIONS, POSITIONS)
IMAGES = 737_280
"""The product of the factors."""

# Pixels at scale 1. No pixel's center lies on an outline, for any number: rounding on another machine changes nothing.
_SQUARE_HALF_SIDE = 10.8
_ELLIPSE_HALF_WIDTH, _ELLIPSE_HALF_HEIGHT = 14.8, 7.4
_HEART_HALF_SIDE = 8.0
_FIRST_POSITION = 16  # Column or row of the pixel on whose center a shape at position 0 is centered; 47 at position 31.


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
        """0..737279, the inverse of `sprite`."""
        return int(np.ravel_multi_index((self.shape, self.scale, self.orientation, self.x, self.y), FACTORS))


def sprite(number: int) -> Sprite:
    """What the image of this number shows.

    Raises:
        ValueError: The number is not in 0..737279.
    """
    return Sprite(*(int(index) for index in np.unravel_index(number, FACTORS)))


def draw_sprite(number: int) -> np.ndarray:
    """Draw one image, of which a pixel is white where its center lies in the shape.

    Returns:
        uint8 (64, 64), 0 or 255.

    Raises:
        ValueError: The number is not in 0..737279.
    """
    pixels: np.ndarray = np.where(sprite_level(sprite(number)) < 0, np.uint8(255), np.uint8(0))
    return pixels


def sprite_level(drawn: Sprite) -> np.ndarray:
    """How far out of the shape each pixel's center lies: below 0 inside, 0 on the outline, above 0 outside.

    Orientations turn counterclockwise about the shape's center of mass; the heart of orientation 0 stands upright.

    Returns:
        float64 (64, 64), in pixels at scale 1 (less where the ellipse is long).
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
    """A square on its corner, with a disc about the middle of each upper side whose diameter is that side.

    The halves of the discs outside of the square lift the center of mass above that of the square, by
    sqrt(2) (3 pi + 4) / (6 (pi + 4)) of half a side.
    """
    half = _HEART_HALF_SIDE
    v = v + half * sqrt(2) * (3 * pi + 4) / (6 * (pi + 4))
    p, q = (u + v) / sqrt(2), (v - u) / sqrt(2)
    square = np.maximum(np.abs(p), np.abs(q))
    level: np.ndarray = np.minimum(square, np.minimum(np.hypot(p - half, q), np.hypot(p, q - half))) - half
    return level
