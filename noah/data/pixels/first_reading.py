"""The first reading of a run's images: all are decoded, so that a damaged one is found before hours of training.

Decoded images are kept if they fit into memory, so that no stage has to decode them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from noah.data.pixels.originals import Originals, held_reason
from noah.data.pixels.pixels import Pixels, allocate, decode_each, unreadable
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import Split
from noah.hardware.memory import available_memory


@dataclass(frozen=True, slots=True)
class Part:
    """Images of a run, and the size at which a stage will need them.

    Attributes:
        split: The images to read.
        at_own_size: Whether they are needed at their original size, for random crops, or at the backbone's.
    """

    split: Split
    at_own_size: bool = False


def read_first(
    parts: Sequence[Part],
    preprocessing: Preprocessing,
    *,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    look: Callable[[int, int, Image], None] | None = None,
) -> list[Pixels | Originals]:
    """Decode every image of all parts once.

    Args:
        parts: The images to read, in this order; each part may take half of the memory that earlier ones leave.
        preprocessing: Gives the backbone's input size.
        memory_limit: Bytes that each part may take; by default half of the memory that is free.
        progress: Called with the number of images decoded so far and the number of all images.
        look: Called in threads with the number of a part, the place of an image in it, and the image at its own size.

    Returns:
        The images of those parts that fit into memory.

    Raises:
        UnreadableImageError: If images cannot be decoded; those of all parts are counted together.
    """
    total, free, done = sum(len(part.split) for part in parts), available_memory(), 0
    kept: list[Pixels | Originals] = []
    failures: list[str] = []
    for number, part in enumerate(parts):
        limit = free // 2 if memory_limit is None else memory_limit

        def tell(decoded: int, _: int, done: int = done) -> None:
            if progress:
                progress(done + decoded, total)

        reader = _OwnSizes(part.split, limit) if part.at_own_size else _Resized(part.split, preprocessing, limit)
        failures += decode_each(part.split, np.arange(len(part.split)), _shown(reader.keep, look, number), tell)
        done += len(part.split)
        found = reader.kept()
        if found is not None:
            kept.append(found)
            free -= reader.taken
    if failures:
        raise unreadable(failures, total)
    return kept


def _shown(
    keep: Callable[[int, Image], None], look: Callable[[int, int, Image], None] | None, number: int
) -> Callable[[int, Image], None]:
    """Give each image to both."""
    if look is None:
        return keep

    def use(place: int, image: Image) -> None:
        keep(place, image)
        look(number, place, image)

    return use


class _Resized:
    """Keeps images at the backbone's size, if all fit."""

    def __init__(self, split: Split, preprocessing: Preprocessing, limit: int) -> None:
        self._split, self._preprocessing = split, preprocessing
        self._memory, self._reason = allocate(len(split), preprocessing, limit)
        self.taken = 0 if self._memory is None else self._memory.nbytes

    def keep(self, place: int, image: Image) -> None:
        if self._memory is not None:
            self._memory[place] = self._preprocessing.pixels(image)

    def kept(self) -> Pixels | None:
        return None if self._memory is None else Pixels(self._split, self._preprocessing, self._memory, self._reason)


class _OwnSizes:
    """Keeps images at their original sizes, from the first on until no more fit."""

    def __init__(self, split: Split, limit: int) -> None:
        self._split, self._limit = split, limit
        self._held: list[NDArray[np.uint8] | None] = [None] * len(split)
        self._lock, self._full = Lock(), False
        self.taken = 0

    def keep(self, place: int, image: Image) -> None:
        with self._lock:  # threads decode in parallel
            needed = 3 * image.width * image.height
            self._full = self._full or self.taken + needed > self._limit
            if not self._full:
                self.taken += needed
                self._held[place] = np.asarray(image)

    def kept(self) -> Originals:
        held = [image for image in takewhile(lambda image: image is not None, self._held) if image is not None]
        self.taken = sum(image.nbytes for image in held)
        return Originals(self._split, held, held_reason(self._split, held, self._limit))
