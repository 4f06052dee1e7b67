"""The images of a split at their own sizes: decoded once and held in memory as far as they fit, else decoded anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noah.data.pixels.pixels import unreadable
from noah.data.split import Split
from noah.errors import UnreadableImageError
from noah.hardware.memory import available_memory, format_bytes


class Originals:
    """Images as they were taken, for random crops; made by `load_originals`.

    Attributes:
        split: Where they come from.
        in_memory: Whether all images were decoded once for all.
        reason: Why, in one sentence with the sizes.
    """

    def __init__(self, split: Split, held: list[NDArray[np.uint8]], reason: str) -> None:
        self.in_memory = len(held) == len(split)
        self.reason = reason
        self.split = split
        self._held = held

    def images(self, indices: np.ndarray) -> list[Image.Image]:
        """Some images in mode RGB, in the order of `indices`.

        Raises:
            UnreadableImageError: Images that are not in memory cannot be decoded; all of them are counted.
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
        split: The images.
        memory_limit: Bytes that the pixels may take; half of what is free now, if not given.
        progress: Called with the number of images decoded so far and of all.

    Raises:
        UnreadableImageError: Images cannot be decoded; all of them are counted, the first are named with their cause.
    """
    limit = available_memory() // 2 if memory_limit is None else memory_limit
    held: list[NDArray[np.uint8]] = []
    failures: list[str] = []
    needed = 0

    def decode_one(index: int) -> NDArray[np.uint8] | str:
        try:
            return np.asarray(split.open(index))
        except UnreadableImageError as error:
            return f"{split.name(index)}: {error.cause}"

    # An image a thread at a time, because nobody knows how large the next ones are.
    block = min(os.cpu_count() or 1, 32)
    with ThreadPoolExecutor(block) as threads:
        for start in range(0, len(split), block):
            end = min(start + block, len(split))
            for decoded in threads.map(decode_one, range(start, end)):
                if isinstance(decoded, str):
                    failures.append(decoded)
                elif not failures:  # from the first failure on, images are only counted
                    needed += decoded.nbytes
                    if needed > limit:
                        return Originals(split, held, held_reason(split, held, limit))
                    held.append(decoded)
            if progress:
                progress(end, len(split))
    if failures:
        raise unreadable(failures, len(split))
    return Originals(split, held, held_reason(split, held, limit))


def held_reason(split: Split, held: list[NDArray[np.uint8]], limit: int) -> str:
    """Why so many images are held: the sizes, in a sentence.

    Args:
        split: All images.
        held: The first of them.
        limit: Bytes that they may take.
    """
    allowed = f"the {format_bytes(limit)} that they may take"
    if len(held) < len(split):
        fit = f"Only {len(held):,} of {len(split):,} images at their own sizes fit into {allowed}"
        return f"{fit}: the others are decoded anew for each batch."
    needed = sum(image.nbytes for image in held)
    fit = f"{len(split):,} images at their own sizes need {format_bytes(needed)}, within {allowed}"
    return f"{fit}: they are decoded once and held in memory."
