"""The images of a split at their original sizes: as many as fit are decoded into memory, the others for each batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noah.data.in_threads import THREADS, in_threads
from noah.data.pixels.pixels import unreadable
from noah.data.split import Split
from noah.errors import UnreadableImageError
from noah.hardware.memory import available_memory, format_bytes


class Originals:
    """Images at their original sizes, for random crops; made by `load_originals`.

    Attributes:
        split: Where the images come from.
        in_memory: Whether all images were decoded into memory.
        reason: One sentence that says why, with the sizes.
    """

    def __init__(self, split: Split, held: list[NDArray[np.uint8]], reason: str) -> None:
        self.in_memory = len(held) == len(split)
        self.reason = reason
        self.split = split
        self._held = held

    def images(self, indices: np.ndarray) -> list[Image.Image]:
        """Give images in mode RGB, in the order of `indices`.

        Raises:
            UnreadableImageError: If images that are not in memory cannot be decoded; it counts all of them.
        """
        images, failures = [], []
        for index in indices.tolist():
            if index < len(self._held):
                images.append(Image.fromarray(self._held[index]))
                continue
            try:
                images.append(self.split.open(index))
            except UnreadableImageError as error:
                failures.append(f"{self.split.name(index)}: {error.cause}")
        if failures:
            raise unreadable(failures, len(indices))
        return images


def load_originals(
    split: Split,
    *,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Originals:
    """Decode the first images of a split into memory, as many as fit.

    Args:
        split: The images to decode.
        memory_limit: Bytes that the pixels may take; by default half of the memory that is free now.
        progress: Called with the number of images decoded so far and the number of all images.

    Raises:
        UnreadableImageError: If images cannot be decoded; it counts all of them and names the first with their causes.
    """
    limit = available_memory() // 2 if memory_limit is None else memory_limit
    held: list[NDArray[np.uint8]] = []
    failures: list[str] = []
    needed = 0

    def decode(index: int) -> NDArray[np.uint8]:
        return np.asarray(split.open(index))

    # One image per thread at a time, because the next ones may be of any size.
    with closing(in_threads(range(len(split)), decode, ahead=THREADS)) as images:
        for index, image in images:
            if isinstance(image, UnreadableImageError):
                failures.append(f"{split.name(index)}: {image.cause}")
            elif not failures:  # after the first failure, images are only counted
                needed += image.nbytes
                if needed > limit:
                    return Originals(split, held, held_reason(split, held, limit))
                held.append(image)
            done = index + 1
            if progress and (done % THREADS == 0 or done == len(split)):
                progress(done, len(split))
    if failures:
        raise unreadable(failures, len(split))
    return Originals(split, held, held_reason(split, held, limit))


def held_reason(split: Split, held: list[NDArray[np.uint8]], limit: int) -> str:
    """Say in one sentence, with the sizes, why so many images are held in memory.

    Args:
        split: All images.
        held: The first images of the split, which are held.
        limit: Bytes that the images may take.
    """
    allowed = f"the {format_bytes(limit)} that they may take"
    if len(held) < len(split):
        fit = f"Only {len(held):,} of {len(split):,} images at their own sizes fit into {allowed}"
        return f"{fit}: the others are decoded anew for each batch."
    needed = sum(image.nbytes for image in held)
    fit = f"{len(split):,} images at their own sizes need {format_bytes(needed)}, within {allowed}"
    return f"{fit}: they are decoded once and held in memory."
