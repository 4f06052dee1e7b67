"""Grounds for what is drawn on them: each is a base color with a pattern whose colors stay close to it.

Every function takes the generator that alone decides what is drawn, and the size of the square in pixels, and returns
float64, (size, size, 3), RGB from 0 to 255: no channel leaves 15..240, nor differs by more than 90 inside one ground.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np

Ground = Callable[[np.random.Generator, int], np.ndarray]

_REACH = 45.0  # How far a pattern takes a channel from the base color.


def flat(generator: np.random.Generator, size: int) -> np.ndarray:
    """One color."""
    return _colored(np.zeros((size, size, 3)), generator)


def gradient(generator: np.random.Generator, size: int) -> np.ndarray:
    """A straight passage from one color to another, in any direction."""
    angle = 2 * pi * generator.random()
    places = np.linspace(-1, 1, size)
    slope = cos(angle) * places[None, :] + sin(angle) * places[:, None]
    return _colored((slope / np.abs(slope).max())[..., None] * _tint(generator), generator)


def soft_noise(generator: np.random.Generator, size: int) -> np.ndarray:
    """Clouds of all colors, 8 to 16 pixels large where the size is 64."""
    knots = generator.random((9, 9, 3)) * 2 - 1
    steps = (4 + 4 * generator.random()) * np.arange(size) / size
    left = steps.astype(int)
    share = (steps - left) ** 2 * (3 - 2 * (steps - left))  # Smooth where two cells meet.
    rows = knots[left] * (1 - share)[:, None, None] + knots[left + 1] * share[:, None, None]
    return _colored(rows[:, left] * (1 - share)[:, None] + rows[:, left + 1] * share[:, None], generator)


def checks(generator: np.random.Generator, size: int) -> np.ndarray:
    """A board of two colors, upright, with squares of 4 to 11 pixels."""
    side = 4 + int(8 * generator.random())
    x, y = (np.arange(size) + int(2 * side * start) for start in generator.random(2))
    board = np.where((x[None, :] // side + y[:, None] // side) % 2, 1.0, -1.0)
    return _colored(board[..., None] * _tint(generator), generator)


def stripes(generator: np.random.Generator, size: int) -> np.ndarray:
    """Stripes of two colors with soft edges, 3 to 8 pixels wide, in any direction."""
    angle, phase, width = 2 * pi * generator.random(), 2 * pi * generator.random(), 3 + 5 * generator.random()
    places = pi / width * np.arange(size)
    wave = np.sin(cos(angle) * places[None, :] + sin(angle) * places[:, None] + phase)
    return _colored(np.clip(2 * wave, -1, 1)[..., None] * _tint(generator), generator)


def any_of(grounds: tuple[Ground, ...], generator: np.random.Generator, size: int) -> np.ndarray:
    """One of several kinds of ground, each equally often."""
    return grounds[int(len(grounds) * generator.random())](generator, size)


def _tint(generator: np.random.Generator) -> np.ndarray:
    """The change of each channel at a pattern's strongest place, (3,), with at least a third in one of them."""
    tint = generator.random(3) * 2 - 1
    strongest: np.ndarray = tint * (max(1 / 3, np.abs(tint).max()) / np.abs(tint).max())
    return strongest


def _colored(pattern: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Add a pattern of -1..1 per channel to a random base color."""
    ground: np.ndarray = 60 + 135 * generator.random(3) + _REACH * pattern
    return ground
