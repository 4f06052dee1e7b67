"""Datasets that noah draws itself: images that are numbers until they are opened, in one fixed split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.split import Split

TRAINING_IMAGES, VALIDATION_IMAGES, TEST_IMAGES = 800, 200, 1000
"""The sizes of VTAB-1k's splits; its test splits are larger."""

Render = Callable[[int], np.ndarray]
"""From an image's number to its pixels: uint8 (H, W) for gray or (H, W, 3) for RGB, the same whenever it is called."""


@dataclass(frozen=True, slots=True, eq=False)
class RenderedSplit:
    """Images that are drawn anew each time they are opened.

    Attributes:
        numbers: Of each image, int64 (n,).
        labels: int64 (n,).
        render: Draws the image of a number.
        drawing: The version of what `render` draws. It is part of the images' names, which stand for the images where
            runs are compared or gone on with.
        prefix: Image number 12 is named prefix/v1-12 in version 1 of the drawing.
    """

    numbers: np.ndarray
    labels: np.ndarray
    render: Render
    drawing: int
    prefix: str

    def __post_init__(self) -> None:
        if self.labels.dtype != np.int64 or self.labels.shape != self.numbers.shape:
            raise ValueError(
                f"{len(self.numbers)} images need labels int64 {self.numbers.shape}, "
                f"not {self.labels.dtype} {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.numbers)

    def open(self, index: int) -> Image.Image:
        """Draw the image, in mode RGB."""
        return Image.fromarray(self.render(int(self.numbers[index]))).convert("RGB")

    def name(self, index: int) -> str:
        """Prefix, version of the drawing, and number."""
        return f"{self.prefix}/v{self.drawing}-{self.numbers[index]}"


def rendered_dataset(
    name: str,
    classes: tuple[str, ...],
    numbers: np.ndarray,
    labels: np.ndarray,
    render: Render,
    drawing: int,
    notes: tuple[str, ...],
) -> Dataset:
    """The first 800 images to train on, the next 200 to validate on, the last 1,000 to test on; nothing is drawn yet.

    Args:
        name: Of the dataset, and the first part of the names of its images.
        classes: The name of each label.
        numbers: Of 2,000 different images, int64.
        labels: Of the same images, int64.
        render: Draws the image of a number.
        drawing: The version of what `render` draws, to be raised with any change of the pixels.
        notes: What to tell of the images; a note on the split is put behind them.

    Raises:
        ValueError: There are not 2,000 images, one appears twice, or the labels do not fit.
    """
    if len(np.unique(numbers)) != TRAINING_IMAGES + VALIDATION_IMAGES + TEST_IMAGES or numbers.ndim != 1:
        raise ValueError(f"{name} needs 2,000 different images, not {len(np.unique(numbers))} in {numbers.shape}")

    def part(start: int, end: int) -> Split:
        return RenderedSplit(numbers[start:end], labels[start:end], render, drawing, name)

    training, both = TRAINING_IMAGES, TRAINING_IMAGES + VALIDATION_IMAGES
    split = (
        f"{name} has a fixed split, the same for every seed and validation fraction: {TRAINING_IMAGES} images to train "
        f"on, {VALIDATION_IMAGES} to validate on and {TEST_IMAGES:,} to test on."
    )
    return Dataset(
        name=name,
        classes=classes,
        train=part(0, training),
        validation=part(training, both),
        load_test=partial(part, both, len(numbers)),
        notes=(*notes, split),
    )
