"""Measures the accuracy that 8 bits cost, on held-out or validation images, and sets a limit to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from export.runtime.onnx_session import CPU, open_session
from export.runtime.tensors import OpenModel
from noah.data.pixels.pixels import Pixels
from noah.prepare.context import Materials
from noah.progress import Bar, Listener

POINTS_ALLOWED = 0.5
"""Percentage points of accuracy that an artifact may lose against the same network in float32."""
POINTS_OF_NO_CONCERN = 0.25
AGREEMENT_OF_NO_CONCERN = 0.99
"""If no more points are lost and at least this share of the images keeps its top-1 class, no other way to quantize is
tried. Most sets for gates are small: accuracy alone would depend on one or two images."""
_LEAST = 1e-12
"""The smallest probability whose logarithm is taken."""

LogProbabilities = NDArray[np.float64]
"""Of each class for each image, (n, classes)."""


@dataclass(frozen=True)
class AccuracyLoss:
    """Compares the predictions of two files on the same images.

    Attributes:
        images: Describes these images.
        total: Number of images.
        correct: How many of them the quantized file gets right.
        correct_in_float32: How many of them the float32 file gets right.
        agreeing: How many of them have the same top-1 class in both.
        divergence: Mean Kullback-Leibler divergence of the quantized file's probabilities from the float32 file's, in
            nats. It orders two files whose accuracies differ by a handful of images.
    """

    images: str
    total: int
    correct: int
    correct_in_float32: int
    agreeing: int
    divergence: float

    @property
    def points(self) -> float:
        """Percentage points lost; negative if accuracy rises."""
        return 100 * (self.correct_in_float32 - self.correct) / self.total

    @property
    def is_allowed(self) -> bool:
        """Whether the loss is at most `POINTS_ALLOWED`."""
        return 100 * (self.correct_in_float32 - self.correct) <= POINTS_ALLOWED * self.total

    @property
    def is_no_concern(self) -> bool:
        """Whether so little is lost that looking for a better way to quantize is not worth it."""
        enough = self.agreeing >= AGREEMENT_OF_NO_CONCERN * self.total
        return enough and 100 * (self.correct_in_float32 - self.correct) <= POINTS_OF_NO_CONCERN * self.total


class Int8Gate:
    """The images that decide about 8-bit files, and what the float32 file says of them.

    Args:
        in_float32: The file that all 8-bit files are compared with.
        pixels: The images.
        images: Describes them.
        batch_size: How many are run at once.
        listener: Shows the progress.
        raw_pixels: Whether all files take raw pixels; else normalized ones.
        threads: CPU threads; None for a choice.
    """

    def __init__(
        self,
        in_float32: Path,
        pixels: Pixels,
        images: str,
        batch_size: int,
        listener: Listener,
        *,
        raw_pixels: bool,
        threads: int | None = None,
    ) -> None:
        self.images = images
        self._pixels = pixels
        self._batch_size = batch_size
        self._listener = listener
        self._raw_pixels = raw_pixels
        self._threads = threads
        self._expected = self._outputs(in_float32, "the float32 file")

    def measure(self, quantized: Path) -> AccuracyLoss:
        """Run an 8-bit file on the images, and compare."""
        found, labels = self._outputs(quantized, "the quantized file"), self._pixels.labels
        classes, expected = found.argmax(axis=1), self._expected.argmax(axis=1)
        return AccuracyLoss(
            images=self.images,
            total=len(self._pixels),
            correct=int((classes == labels).sum()),
            correct_in_float32=int((expected == labels).sum()),
            agreeing=int((classes == expected).sum()),
            divergence=divergence(found, self._expected),
        )

    def _outputs(self, file: Path, title: str) -> LogProbabilities:
        with self._listener.bar(f"measuring {title}", len(self._pixels), "images") as bar:
            batches = raw_batches(self._pixels, self._batch_size, bar)
            normalize = self._pixels.preprocessing.normalize
            return log_probabilities(file, batches if self._raw_pixels else map(normalize, batches), self._threads)


def raw_batches(pixels: Pixels, batch_size: int, bar: Bar) -> Iterator[NDArray[np.uint8]]:
    """Give all images in order in batches, uint8 (B, H, W, 3); the bar counts those of the batches that were used."""
    for start in range(0, len(pixels), batch_size):
        stop = min(start + batch_size, len(pixels))
        yield pixels.batch(np.arange(start, stop))
        bar.update(stop)


def log_probabilities(file: Path, batches: Iterable[NDArray[Any]], threads: int | None = None) -> LogProbabilities:
    """Run a file that gives logits or probabilities on batches of its input, on the CPU."""
    model = open_session(file, provider=CPU, threads=threads)
    found = np.concatenate([model.run(batch) for batch in batches]).astype(np.float64)
    if model.outputs[0].name == "probabilities":
        found = np.log(found.clip(_LEAST))
    normalized: LogProbabilities = log_softmax(found, axis=1)
    return normalized


def divergence(found: LogProbabilities, expected: LogProbabilities) -> float:
    """Mean Kullback-Leibler divergence from `expected` to `found`, in nats; 0 where both are the same."""
    return max(0.0, float((np.exp(expected) * (expected - found)).sum(axis=1).mean()))


def first_classes(
    model: OpenModel, pixels: Pixels, materials: Materials, listener: Listener, title: str, *, raw_pixels: bool
) -> NDArray[np.int64]:
    """Give a model's top-1 class for each image, int64 (n,); the title is that of the bar, after "measuring"."""
    with listener.bar(f"measuring {title}", len(pixels), "images") as bar:
        return np.concatenate(
            [
                model.run(values if raw_pixels else pixels.preprocessing.normalize(values)).argmax(axis=1)
                for values in raw_batches(pixels, materials.evaluation_batch_size, bar)
            ]
        )
