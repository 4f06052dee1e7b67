"""The ten digits in the fonts that come with matplotlib, reduced to the look of scikit-learn's handwritten ones.

Those are bitmaps of 32 x 32 pixels, which the digit fills from top to bottom, reduced to 8 x 8 by counting how many
pixels of each block of 4 x 4 are inside.
"""

from __future__ import annotations

import numpy as np

from noah.data.sources.drawn.faces import FACES, glyph
from noah.data.sources.drawn.letters import place_glyph

SIZE = 8
"""Width and height of an image in pixels."""

DRAWING = 1
"""The version of the pixels. Raise it with any change to them, be it here or in what is imported from `faces` and
`letters`: runs use it to tell which images they were made with."""

_WORD = 1_010  # Together with an image's number, this is the image's seed.
_FINER = 4  # Pixels of the bitmap for each of the image.


def draw_digit(number: int) -> np.ndarray:
    """Draw one image, light on dark; number 0 is a 0, 1 a 1 and so on, and 10 a 0 again.

    Returns:
        uint8, (8, 8), in 17 steps from 0 to 255.

    Raises:
        ValueError: If the number is below 0.
        MissingPackageError: If matplotlib, which brings the fonts, is not installed.
    """
    generator = np.random.default_rng([_WORD, number])
    size = SIZE * _FINER
    covered = place_glyph(
        glyph(FACES[int(len(FACES) * generator.random())], str(number % 10)),
        size,
        height=size,
        slant=0.3 * generator.random() - 0.05,
        degrees=12 * generator.random() - 6,
        at=(0.35 + 0.3 * generator.random(), 0.5),
        margin=0,
    )
    inside = (covered >= 0.5).reshape(SIZE, _FINER, SIZE, _FINER).sum(axis=(1, 3))
    pixels: np.ndarray = np.rint(inside * (255 / _FINER**2)).astype(np.uint8)
    return pixels
