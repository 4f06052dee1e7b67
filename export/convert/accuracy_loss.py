"""Measures the accuracy that 8 bits cost, on held-out or validation images, and sets a limit to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.runtime.onnx_session import CPU, open_session
from export.runtime.tensors import OpenModel
from noah.data.pixels.pixels import Pixels
from noah.prepare.context import Materials
from noah.prepare.held_out import gate_images
from noah.progress import Listener

POINTS_ALLOWED = 0.5
"""Percentage points of accuracy that an artifact may lose against the same network in float32."""


@dataclass(frozen=True)
class AccuracyLoss:
    """Compares the predictions of two files on the same images.

    Attributes:
        images: Describes these images.
        total: Number of images.
        correct: How many of them the quantized file gets right.
        correct_in_float32: How many of them the float32 file gets right.
        agreeing: How many of them have the same top-1 class in both.
    """

    images: str
    total: int
    correct: int
    correct_in_float32: int
    agreeing: int

    @property
    def points(self) -> float:
        """Percentage points lost; negative if accuracy rises."""
        return 100 * (self.correct_in_float32 - self.correct) / self.total

    @property
    def is_allowed(self) -> bool:
        """Whether the loss is at most `POINTS_ALLOWED`."""
        return 100 * (self.correct_in_float32 - self.correct) <= POINTS_ALLOWED * self.total


def measure_accuracy_loss(
    quantized: Path, in_float32: Path, materials: Materials, listener: Listener, *, raw_pixels: bool
) -> AccuracyLoss:
    """Run both files on the images for gates (`noah.prepare.held_out`).

    Args:
        quantized: The 8-bit file.
        in_float32: The file that it was made from.
        materials: The run's dataset and backbone.
        listener: Shows the progress.
        raw_pixels: Whether both files take raw pixels; else normalized ones.
    """
    split, images = gate_images(materials)
    pixels = materials.pixels(split, "gate", listener)
    found, expected = (
        first_classes(open_session(file, provider=CPU), pixels, materials, listener, title, raw_pixels=raw_pixels)
        for file, title in ((quantized, "the quantized file"), (in_float32, "the float32 file"))
    )
    return AccuracyLoss(
        images=images,
        total=len(pixels),
        correct=int((found == pixels.labels).sum()),
        correct_in_float32=int((expected == pixels.labels).sum()),
        agreeing=int((found == expected).sum()),
    )


def first_classes(
    model: OpenModel, pixels: Pixels, materials: Materials, listener: Listener, title: str, *, raw_pixels: bool
) -> NDArray[np.int64]:
    """Give a model's top-1 class for each image, int64 (n,); the title is that of the bar, after "measuring"."""
    batch_size = materials.evaluation_batch_size
    classes = []
    with listener.bar(f"measuring {title}", len(pixels), "images") as bar:
        for start in range(0, len(pixels), batch_size):
            stop = min(start + batch_size, len(pixels))
            values = pixels.batch(np.arange(start, stop))
            outputs = model.run(values if raw_pixels else pixels.preprocessing.normalize(values))
            classes.append(outputs.argmax(axis=1))
            bar.update(stop)
    return np.concatenate(classes)
