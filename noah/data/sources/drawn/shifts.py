"""Test images for `noah eval --on` that differ in one respect from those that a run was trained on: shifts.

Each has the classes of a dataset that needs no download, its source, and no images to train on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.digits import load_digits
from noah.data.sources.drawn import font_digits, letters
from noah.data.sources.drawn.dsprites import load_dsprites_location
from noah.data.sources.drawn.faces import COMPUTER_MODERN, MONO, SERIF, find_fonts
from noah.data.sources.drawn.grounds import any_of, checks, gradient, soft_noise, stripes
from noah.data.sources.drawn.rendered import TEST_IMAGES, Render, RenderedSplit
from noah.data.sources.drawn.shapes_count import load_shapes_count, scene
from noah.data.sources.drawn.sprites import draw_sprite
from noah.data.sources.source import Source, named, plain_name
from noah.errors import UsageError
from noah.settings.settings import DataSettings

DRAWING = 1
"""The version of the pixels of shapes on other grounds and of sprites in noise. Raise it with any change to them, be it
here or in what is drawn: runs use it to tell which images they were tested on."""

_NOISE = 1_702  # Together with an image's number, this is the seed of the noise.


@dataclass(frozen=True, slots=True)
class Shift:
    """One set of test images.

    Attributes:
        name: The name for `--on`.
        source: The name of the dataset to train on.
        classes: How many classes both have.
        load_source: Loads the source. If noah draws it, its test images are drawn anew, with the same numbers and
            labels; otherwise 1,000 images are drawn, of number 0 and on, and their labels are their numbers modulo the
            classes.
        what: What is in the images, for a sentence.
        render: Draws the image of a given number.
        drawing: The version of the drawing.
        needs_fonts: Whether it is drawn in matplotlib's fonts.
    """

    name: str
    source: str
    classes: int
    load_source: Callable[[], Dataset]
    what: str
    render: Render
    drawing: int
    needs_fonts: bool = True

    def load(self) -> Dataset:
        """Give the source, tested on this set.

        Raises:
            MissingPackageError: If matplotlib, which brings the fonts, is needed and not installed.
        """
        if self.needs_fonts:
            find_fonts()
        source = self.load_source()
        return replace(
            source,
            name=self.name,
            load_test=partial(self._draw_anew, source),
            notes=(f"{self.name} is drawn by noah: {self.what}, for classifiers trained on {self.source}.",),
        )

    def _draw_anew(self, source: Dataset) -> RenderedSplit:
        test = source.load_test()
        if isinstance(test, RenderedSplit):
            numbers, labels = test.numbers, test.labels
        else:
            numbers = np.arange(TEST_IMAGES, dtype=np.int64)
            labels = numbers % self.classes
        return RenderedSplit(numbers, labels, self.render, self.drawing, self.name)


def _letters(name: str, faces: tuple[str, ...], what: str) -> Shift:
    render, source = partial(letters.draw_letter, faces), "rendered_letters_sans"
    return Shift(name, source, 26, letters.load_sans_letters, f"letters in {what}", render, letters.DRAWING)


def _on_other_grounds(number: int) -> np.ndarray:
    """Draw an image of shapes_count, but on one of four other kinds of ground, and so in other places and colors."""
    return scene(number, partial(any_of, (gradient, soft_noise, checks, stripes))).image


def _in_noise(number: int) -> np.ndarray:
    """Draw a sprite on noise of 0..160 and under noise of 95..255, different in each pixel."""
    noise = np.random.default_rng([_NOISE, number]).integers(0, 161, (64, 64))
    pixels: np.ndarray = np.where(draw_sprite(number) > 0, noise + 95, noise).astype(np.uint8)
    return pixels


def _digits() -> Dataset:
    return load_digits(seed=0, validation_fraction=0.2)


SHIFTS: tuple[Shift, ...] = (
    _letters("rendered_letters_serif", SERIF, "faces with serifs"),
    _letters("rendered_letters_mono", MONO, "faces of fixed width"),
    _letters("rendered_letters_computer_modern", COMPUTER_MODERN, "the faces of Computer Modern"),
    Shift("rendered_digits", "digits", 10, _digits, "printed digits", font_digits.draw_digit, font_digits.DRAWING),
    Shift(
        "shapes_count_grounds",
        "shapes_count",
        8,
        load_shapes_count,
        "shapes on gradients, clouds, checks and stripes",
        _on_other_grounds,
        DRAWING,
        needs_fonts=False,
    ),
    Shift(
        "rendered_dsprites_loc_noise",
        "rendered_dsprites_loc",
        16,
        load_dsprites_location,
        "the same sprites in noise",
        _in_noise,
        DRAWING,
        needs_fonts=False,
    ),
)
"""All of them."""

_BY_NAME = {shift.name: shift for shift in SHIFTS}


def find_shift(name: str) -> Shift | None:
    """Find a shift by its name; capitals and hyphens make no difference."""
    return _BY_NAME.get(name.lower().replace("-", "_"))


def _refuse_training(data: DataSettings, seed: int) -> Dataset:
    """Say which dataset to train on instead.

    Raises:
        UsageError: Always.
    """
    shift = _BY_NAME[plain_name(data)]
    raise UsageError(
        f"{shift.name} has test images only.",
        f"Train on --dataset {shift.source}; then type noah eval --on {shift.name}.",
    )


SOURCE = Source("a set of test images", named(_BY_NAME), _refuse_training, aliases=tuple(_BY_NAME))
"""Here for the sake of the error, because people type these names."""
