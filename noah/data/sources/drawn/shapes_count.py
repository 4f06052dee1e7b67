"""How many shapes are there? A counting task like VTAB-1k's clevr_count, rendered without any file."""

from __future__ import annotations

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.drawn.grounds import Ground
from noah.data.sources.drawn.rendered import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES, rendered_dataset
from noah.data.sources.drawn.shape_scene import DRAWING, Scene, draw_scene, waves

COUNTS = range(3, 11)

_IMAGES = TRAINING_IMAGES + VALIDATION_IMAGES + TEST_IMAGES
_WORD = 310  # Together with an image's number, this is the image's seed.


def load_shapes_count() -> Dataset:
    """Load 2,000 RGB images of 64 x 64 pixels with 3 to 10 shapes: each split has as many images of each count."""
    numbers = np.arange(_IMAGES, dtype=np.int64)
    source = (
        "shapes_count is drawn by noah: it asks what VTAB-1k's clevr_count asks, of other and simpler images, and "
        "accuracies are not comparable with published ones."
    )
    labels = numbers % len(COUNTS)
    return rendered_dataset("shapes_count", tuple(map(str, COUNTS)), numbers, labels, _image, DRAWING, (source,))


def scene(number: int, paint: Ground = waves) -> Scene:
    """Draw the scene of an image; number 0 has 3 shapes, 1 has 4 and so on, and 8 has 3 again.

    Args:
        number: The number of the image, from 0.
        paint: Draws the ground.

    Raises:
        ValueError: If the number is below 0.
    """
    return draw_scene(COUNTS[number % len(COUNTS)], np.random.default_rng([_WORD, number]), paint)


def _image(number: int) -> np.ndarray:
    return scene(number).image
