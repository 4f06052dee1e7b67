"""Which letter is it? The capitals A to Z in the fonts that come with matplotlib, on grounds of all colors."""

from __future__ import annotations

from functools import partial
from math import cos, radians, sin
from string import ascii_uppercase

import numpy as np
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.sources.drawn.faces import FACES, SANS, find_fonts, glyph
from noah.data.sources.drawn.grounds import any_of, flat, gradient, soft_noise
from noah.data.sources.drawn.rendered import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES, rendered_dataset

SIZE = 64
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change to them, be it here, in `faces` or in `grounds`: runs use it to
tell which images they were made with. A release of Pillow may also move the gray of an edge by a little."""

CONTRAST = 80.0
"""The least distance in lightness, 0..255, between the letter's color and that of any pixel of the ground."""

MARGIN = 2
"""The least distance in pixels between a letter and the frame."""

LIGHTNESS = np.array([0.299, 0.587, 0.114])
"""How much each of red, green and blue counts in a color's lightness."""

_WORD = 2_600  # Together with an image's number, this is the image's seed.
_FINER = 4  # Edges are smooth because each pixel is the mean of so many by so many.


def load_letters(name: str = "rendered_letters", faces: tuple[str, ...] = FACES) -> Dataset:
    """Load 2,000 RGB images of 64 x 64 pixels with one capital letter each; all letters are equally frequent.

    Args:
        name: The name of the dataset.
        faces: The faces that the letters are drawn in, from `FACES`.

    Raises:
        MissingPackageError: If matplotlib, which brings the fonts, is not installed.
    """
    find_fonts()
    numbers = np.arange(TRAINING_IMAGES + VALIDATION_IMAGES + TEST_IMAGES, dtype=np.int64)
    source = f"{name} is drawn by noah in {len(faces)} faces of the fonts that come with matplotlib."
    labels = numbers % len(ascii_uppercase)
    return rendered_dataset(
        name, tuple(ascii_uppercase), numbers, labels, partial(draw_letter, faces), DRAWING, (source,)
    )


def load_sans_letters() -> Dataset:
    """Load rendered_letters_sans: the same images as `load_letters` gives, but in sans-serif faces only."""
    return load_letters("rendered_letters_sans", SANS)


def draw_letter(faces: tuple[str, ...], number: int) -> np.ndarray:
    """Draw one image; number 0 is an A, 1 a B and so on, and 26 an A again. In other faces, all else stays the same.

    Args:
        faces: The faces of which one is chosen.
        number: The number of the image, from 0.

    Returns:
        uint8, (64, 64, 3), RGB.

    Raises:
        ValueError: If the number is below 0.
        MissingPackageError: If matplotlib, which brings the fonts, is not installed.
    """
    generator = np.random.default_rng([_WORD, number])
    face = faces[int(len(faces) * generator.random())]
    covered = place_glyph(
        glyph(face, ascii_uppercase[number % len(ascii_uppercase)]),
        SIZE,
        height=22 + 24 * generator.random(),
        slant=0.5 * generator.random() - 0.25,
        degrees=20 * generator.random() - 10,
        at=(generator.random(), generator.random()),
        margin=MARGIN,
    )
    ground = any_of((flat, gradient, soft_noise), generator, SIZE)
    color = _color(ground @ LIGHTNESS, generator)
    pixels: np.ndarray = np.rint(ground + covered[..., None] * (color - ground)).astype(np.uint8)
    return pixels


def place_glyph(
    drawn: Image.Image,
    size: int,
    *,
    height: float,
    slant: float,
    degrees: float,
    at: tuple[float, float],
    margin: float,
) -> np.ndarray:
    """Draw a character smaller, slanted and turned into a square image; smaller than asked if it would not fit.

    Args:
        drawn: The character, from `glyph`.
        size: Width and height of the result in pixels.
        height: The height of the upright character in pixels.
        slant: How many pixels the top is moved to the right for each pixel of height.
        degrees: How far it is then turned clockwise.
        at: Where it is between left and right, and between top and bottom: 0 is as far left or up as possible, 1 as far
            right or down.
        margin: How many pixels remain free at each edge.

    Returns:
        float64, (size, size): how much of each pixel is covered, from 0 to 1.
    """
    turn = np.array([[cos(radians(degrees)), -sin(radians(degrees))], [sin(radians(degrees)), cos(radians(degrees))]])
    shape = height / drawn.height * turn @ np.array([[1, -slant], [0, 1]])
    extent = np.abs(shape) @ np.array([drawn.width, drawn.height])  # Of the box around the turned box.
    room = size - 2 * margin
    fit = min(1.0, room / extent.max())
    shape, extent = shape * fit, extent * fit
    center = margin + extent / 2 + (room - extent) * np.array(at)
    # Pillow wants the way back, from a place in the result to one in the character.
    back = np.linalg.inv(shape)
    start = np.array([drawn.width, drawn.height]) / 2 - back @ center
    rows = np.column_stack([back / _FINER, start])
    fine = drawn.transform(
        (size * _FINER, size * _FINER), Image.Transform.AFFINE, rows.ravel().tolist(), Image.Resampling.BILINEAR
    )
    covered: np.ndarray = np.asarray(fine, np.float64).reshape(size, _FINER, size, _FINER).mean(axis=(1, 3)) / 255
    return covered


def _color(lightness: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Choose a color far from the ground, in lightness; float64, (3,).

    If none of a few random colors is far enough, take black or white: the ground's lightness spans at most 90, so that
    one of them always is.
    """
    low, high = lightness.min(), lightness.max()
    candidates = 255 * generator.random((12, 3))
    candidates[-1] = 255.0 if low + high < 255 else 0.0
    light = candidates @ LIGHTNESS
    color: np.ndarray = candidates[np.flatnonzero(np.maximum(low - light, light - high) >= CONTRAST)[0]]
    return color
