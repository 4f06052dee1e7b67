"""Decodes images ahead of time in worker threads, in constant memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noah.data.decode import open_image
from noah.data.in_threads import in_threads
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import UnreadableImageError

Decoded = tuple[Path, npt.NDArray[np.uint8] | UnreadableImageError]


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of the input.

    Attributes:
        paths: The B images that could be read, in the order of the input.
        pixels: uint8 (B, H, W, 3), one image per path; B may be 0.
        failures: (path, cause) of each image among them that could not be read.
    """

    paths: tuple[Path, ...]
    pixels: npt.NDArray[np.uint8]
    failures: tuple[tuple[Path, str], ...]


def read_ahead(
    paths: Iterable[Path], preprocessing: Preprocessing, *, batch_size: int, workers: int, depth: int
) -> Generator[ImageBatch, None, None]:
    """Yield the images in batches, in order, while worker threads decode the next ones.

    Beside the batch that the consumer holds, at most `depth` batches are decoded or being decoded. Closing the
    generator, as leaving a `contextlib.closing` block does, drops what is queued and waits for the few images being
    decoded.

    Args:
        paths: The image files; the iterable is consumed only as far ahead as needed.
        preprocessing: Turns an image into pixels.
        batch_size: Images in a batch; the last one may have fewer.
        workers: Number of threads.
        depth: Number of batches to decode ahead of the consumer.
    """
    if min(batch_size, workers, depth) < 1:
        raise ValueError(f"batch_size {batch_size}, workers {workers} and depth {depth} must be at least 1")

    def decode(path: Path) -> npt.NDArray[np.uint8]:
        with open_image(path) as image:
            return preprocessing.pixels(image)

    with closing(in_threads(paths, decode, ahead=depth * batch_size, workers=workers)) as decoded:
        while images := list(islice(decoded, batch_size)):
            yield _gather(images, preprocessing)


def _gather(images: list[Decoded], preprocessing: Preprocessing) -> ImageBatch:
    """Keep apart the images of one batch that could not be read."""
    paths: list[Path] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    failures: list[tuple[Path, str]] = []
    for path, found in images:
        if isinstance(found, UnreadableImageError):
            failures.append((path, found.cause))
        else:
            paths.append(path)
            pixels.append(found)
    none = np.empty((0, preprocessing.height, preprocessing.width, 3), np.uint8)
    return ImageBatch(tuple(paths), np.stack(pixels) if pixels else none, tuple(failures))
