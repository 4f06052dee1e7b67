"""Datasets that noah draws itself: each image is only a number until it is opened, and the split is fixed."""

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
"""Turns an image's number into pixels, always the same: uint8, (H, W) for gray or (H, W, 3) for RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class RenderedSplit:
    """Images that are drawn each time they are opened.

    Attributes:
        numbers: The number of each image, int64, (n,).
        labels: int64, (n,).
        render: Draws the image of a given number.
        drawing: The version of the drawing. It is part of the images' names, which identify them when runs are compared
            or resumed.
        prefix: Starts the images' names: number 12 is prefix/v1-12 in version 1 of the drawing.
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

    def source(self, index: int) -> None:
        """None: the image is drawn."""

    def name(self, index: int) -> str:
        """The prefix, the version of the drawing, and the image's number, such as shapes_count/v1-12."""
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
    """Make a dataset of the first 800 images for training, 200 for validation and 1,000 for testing; draw none yet.

    Args:
        name: The name of the dataset, and the first part of its images' names.
        classes: The name of each label.
        numbers: The numbers of 2,000 different images, int64.
        labels: The labels of the same images, int64.
        render: Draws the image of a given number.
        drawing: The version of the drawing; raise it with any change to the pixels.
        notes: Sentences about the images; one about the split is added.

    Raises:
        ValueError: If there are not 2,000 images, one appears twice, or the labels do not fit.
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
