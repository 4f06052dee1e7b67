"""Where a sprite is, and how it is rotated: two tasks like VTAB-1k's on dSprites, rendered without any file.

VTAB-1k's dsprites_loc asks for the horizontal position of a shape, dsprites_ori for its orientation, in 16 classes
each. These tasks ask the same questions about noah's own drawings of another sample of the same parameters.
"""

from __future__ import annotations

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.drawn.rendered import TEST_IMAGES, TRAINING_IMAGES, VALIDATION_IMAGES, rendered_dataset
from noah.data.sources.drawn.sprites import DRAWING, FACTORS, IMAGES, ORIENTATIONS, POSITIONS, draw_sprite

CLASSES = 16

_SAMPLE = 1_701
"""The seed of the sample that both tasks share."""


def load_dsprites_location() -> Dataset:
    """Load rendered_dsprites_loc: class k holds the horizontal positions 2k and 2k + 1 of 32, from left to right."""
    return _load("loc", 3, POSITIONS, tuple(f"x {2 * k}-{2 * k + 1}" for k in range(CLASSES)))


def load_dsprites_orientation() -> Dataset:
    """Load rendered_dsprites_ori: orientation i of 40 is in class floor(i / 2.5), so classes alternately have 3 and 2.

    As in the published dataset, the first and the last orientation give the same image but belong to the first and the
    last class.
    """
    degrees = np.rint(np.degrees(ORIENTATIONS)).astype(int)
    members = [degrees[_label(np.arange(len(degrees)), len(degrees)) == k] for k in range(CLASSES)]
    classes = tuple(f"{turned[0]}-{turned[-1]} degrees" for turned in members)
    symmetry = (
        "A square turned by a quarter and an ellipse turned by half look almost the same but have another label, so no "
        "classifier comes near 100 % on rendered_dsprites_ori."
    )
    return _load("ori", 2, len(ORIENTATIONS), classes, symmetry)


def sample() -> np.ndarray:
    """Draw the numbers of the 2,000 images, uniformly from all 737,280 and without repeats; int64, in random order.

    They come from the raw output of a bit generator, which NumPy promises to keep the same in all versions.
    """
    wanted = TRAINING_IMAGES + VALIDATION_IMAGES + TEST_IMAGES
    drawn = np.random.PCG64(_SAMPLE).random_raw(2 * wanted) % np.uint64(IMAGES)
    return np.array(list(dict.fromkeys(drawn.tolist()))[:wanted], np.int64)


def _load(task: str, factor: int, values: int, classes: tuple[str, ...], *notes: str) -> Dataset:
    numbers = sample()
    labels = _label(np.unravel_index(numbers, FACTORS)[factor], values)
    name = f"rendered_dsprites_{task}"
    source = (
        f"{name} is drawn by noah from the parameters of dSprites (Matthey et al., 2017), uniformly sampled: shapes "
        f"and sample are not those of VTAB-1k's dsprites_{task}, and accuracies are not comparable with published ones."
    )
    return rendered_dataset(name, classes, numbers, labels, draw_sprite, DRAWING, (source, *notes))


def _label(index: np.ndarray, values: int) -> np.ndarray:
    """The class of each index 0..values-1: floor(index * 16 / values), in integers."""
    return (index * CLASSES // values).astype(np.int64)
