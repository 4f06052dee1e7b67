"""The resized images of a split: decoded once and kept in memory as uint8 if they fit, else decoded for each batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noah.data.in_threads import in_threads
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import Split
from noah.errors import UnreadableImageError
from noah.hardware.memory import available_memory, format_bytes

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_BLOCK = 256
"""Images handed to the threads ahead, which keeps them busy, and between two words of progress."""


class Pixels:
    """Images of one split at the backbone's input size; made by `load_pixels`.

    Attributes:
        labels: int64, (n,).
        split: The split that the images come from.
        preprocessing: How the images are brought to their size.
        memory: uint8, (n, height, width, 3), if all images were decoded into memory; otherwise None.
        reason: One sentence that says why, with the sizes.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing, memory: np.ndarray | None, reason: str) -> None:
        self.labels = split.labels
        self.split = split
        self.preprocessing = preprocessing
        self.memory = memory
        self.reason = reason

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        """Whether all images were decoded into memory."""
        return self.memory is not None

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """Give images in the order of `indices`.

        Returns:
            uint8, (B, height, width, 3), a copy.

        Raises:
            UnreadableImageError: If images that are not in memory cannot be decoded; it counts all of them.
        """
        if self.memory is None:
            return _decode(self.split, self.preprocessing, indices)
        pixels: np.ndarray = self.memory[indices]
        return pixels

    def fetch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8] | Tensor:
        """Give images as `batch` does, or as a tensor if they live on a device (`DevicePixels`)."""
        return self.batch(indices)

    def name(self, index: int) -> str:
        """The name of this image for people."""
        return self.split.name(index)


def load_pixels(
    split: Split,
    preprocessing: Preprocessing,
    *,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Decode a split into memory if it fits; otherwise read nothing yet.

    Args:
        split: The images to decode.
        preprocessing: The size of the images, and how they are brought to it.
        memory_limit: Bytes that the pixels may take; by default half of the memory that is free now.
        progress: Called with the number of images decoded so far and the number of all images.

    Raises:
        UnreadableImageError: If images cannot be decoded; it counts all of them and names the first with their causes.
    """
    limit = available_memory() // 2 if memory_limit is None else memory_limit
    memory, reason = allocate(len(split), preprocessing, limit)
    if memory is not None:
        _decode(split, preprocessing, np.arange(len(split)), progress, memory)
    return Pixels(split, preprocessing, memory, reason)


def allocate(count: int, preprocessing: Preprocessing, limit: int) -> tuple[NDArray[np.uint8] | None, str]:
    """Allocate memory for images at the backbone's input size, if they fit.

    Args:
        count: The number of images.
        preprocessing: Gives the size of the images.
        limit: Bytes that the images may take.

    Returns:
        uint8, (count, height, width, 3), not filled yet, or None; and the reason, for `Pixels.reason`.
    """
    shape = (count, preprocessing.height, preprocessing.width, 3)
    needed = math.prod(shape)
    images = f"{count:,} images of {preprocessing.width} x {preprocessing.height} pixels"
    allowed = f"the {format_bytes(limit)} that they may take"
    if needed > limit:
        return (
            None,
            f"{images} need {format_bytes(needed)}, more than {allowed}: they are decoded anew for each batch.",
        )
    reason = f"{images} need {format_bytes(needed)}, within {allowed}: they are decoded once and held in memory."
    return np.empty(shape, np.uint8), reason


def _decode(
    split: Split,
    preprocessing: Preprocessing,
    indices: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
    memory: NDArray[np.uint8] | None = None,
) -> np.ndarray:
    """Decode and resize images; returns uint8, (B, height, width, 3), which is `memory` if that is given."""
    pixels = memory
    if pixels is None:
        pixels = np.empty((len(indices), preprocessing.height, preprocessing.width, 3), np.uint8)

    def keep(place: int, image: Image) -> None:
        pixels[place] = preprocessing.pixels(image)

    failures = decode_each(split, indices, keep, progress)
    if failures:
        raise unreadable(failures, len(indices))
    return pixels


def decode_each(
    split: Split,
    indices: np.ndarray,
    use: Callable[[int, Image], None],
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    """Decode images in threads and hand each on with its place in `indices`.

    Returns:
        A line for each image that cannot be decoded, with its name and the cause.
    """

    def decode(place: int) -> None:
        use(place, split.open(int(indices[place])))

    failures: list[str] = []
    with closing(in_threads(range(len(indices)), decode, ahead=_BLOCK)) as decoded:
        for place, error in decoded:
            if error is not None:
                failures.append(f"{split.name(int(indices[place]))}: {error.cause}")
            done = place + 1
            if progress and (done % _BLOCK == 0 or done == len(indices)):
                progress(done, len(indices))
    return failures


def unreadable(failures: list[str], count: int) -> UnreadableImageError:
    """Make the error for images, out of `count`, that cannot be decoded; `failures` has one line for each."""
    lines = [f"{len(failures):,} of {count:,} images cannot be read:", *(f"  {line}" for line in failures[:5])]
    if len(failures) > 5:
        lines.append(f"  and {len(failures) - 5:,} more")
    return UnreadableImageError("\n".join(lines), "Repair these files, or remove them, and run the command again.")
