"""Which of the shapes is the largest? Recognition of one object among others, rendered without any file."""

from __future__ import annotations

from itertools import count

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.drawn.rendered import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES, rendered_dataset
from noah.data.sources.drawn.shape_scene import DRAWING, Scene, Shape, draw_scene

KINDS = {0: "disc", 3: "triangle", 4: "square", 5: "pentagon"}
"""The name of each kind of shape, by the number of its corners."""

LARGER = 1.15
"""The largest shape has at least this many times the area of the next."""

_IMAGES = TRAINING_IMAGES + VALIDATION_IMAGES + TEST_IMAGES
_WORD = 320  # Together with an image's number, this is the image's seed.
_SHAPES = range(3, 6)  # How many there are in an image.


def load_shapes_largest() -> Dataset:
    """Load 2,000 RGB images of 64 x 64 pixels with 3 to 5 shapes: each split has as many images of each class."""
    numbers = np.arange(_IMAGES, dtype=np.int64)
    source = "shapes_largest is drawn by noah: it asks of what kind the largest of a few shapes is."
    names = tuple(KINDS.values())
    return rendered_dataset("shapes_largest", names, numbers, numbers % len(names), _image, DRAWING, (source,))


def scene(number: int) -> Scene:
    """Draw the scene of an image; in number 0 the largest shape is a disc, then a triangle and so on.

    Scenes are drawn until one fits, so that their other shapes are as they come.

    Raises:
        ValueError: If the number is below 0.
    """
    corners = tuple(KINDS)[number % len(KINDS)]
    shapes = _SHAPES[number // len(KINDS) % len(_SHAPES)]
    for attempt in count():
        drawn = draw_scene(shapes, np.random.default_rng([_WORD, number, attempt]))
        if largest(drawn) == corners:
            break
    return drawn


def largest(drawn: Scene) -> int | None:
    """Give the corners of the largest shape, or None if it is not much larger than the next."""
    first, second, *_ = sorted(drawn.shapes, key=_area, reverse=True)
    return first.corners if first.area >= LARGER * second.area else None


def _area(shape: Shape) -> float:
    return shape.area


def _image(number: int) -> np.ndarray:
    return scene(number).image
