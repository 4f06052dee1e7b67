"""The images that int8 is calibrated on: some of the run's own training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.convert.quantize import Inputs
from export.runtime.tensors import INPUT_NAME
from noah.data.pixels.pixels import Pixels
from noah.data.split import select
from noah.prepare.context import Materials
from noah.prepare.held_out import calibration_images
from noah.progress import Bar, Listener

_BATCH = 8
"""Images per batch: histograms hold every activation of a batch, about 160 MB per image for a ViT-B at 224 px."""


def calibration_pixels(materials: Materials, count: int, listener: Listener) -> Pixels:
    """Take training images spread over the split, so that every class is among them; all of them if there are fewer."""
    split = calibration_images(materials)
    return materials.pixels(select(split, _spread(len(split), count)), "calibration", listener)


def _spread(available: int, count: int) -> NDArray[np.int64]:
    """The numbers of some images spread over all; of all of them if there are fewer."""
    return np.linspace(0, available - 1, min(count, available)).round().astype(np.int64)


class CalibrationBatches(Sequence[Inputs]):
    """The inputs of the network in batches, each decoded when it is asked for.

    Args:
        pixels: The images to calibrate on.
        raw_pixels: Whether the network takes raw pixels; else normalized ones.
        bar: Counts the images that have been given.
        count: How many of them, spread over all; None for all.
    """

    def __init__(self, pixels: Pixels, *, raw_pixels: bool, bar: Bar, count: int | None = None) -> None:
        self._pixels = pixels
        self._chosen = _spread(len(pixels), count or len(pixels))
        self._raw_pixels = raw_pixels
        self._bar = bar

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self._chosen) // _BATCH)

    def __getitem__(self, index: Any) -> Any:
        """Decode one batch by its number."""
        chosen = self._chosen[index * _BATCH : (index + 1) * _BATCH]
        if not len(chosen):
            raise IndexError(index)
        pixels = self._pixels.batch(chosen)
        self._bar.update(index * _BATCH + len(chosen))
        return {INPUT_NAME: pixels if self._raw_pixels else self._pixels.preprocessing.normalize(pixels)}
