"""Decodes images ahead of time in worker threads, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noah.data.decode import open_image
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import UnreadableImageError

Decoded = tuple[Path, "Future[npt.NDArray[np.uint8]]"]


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

    Besides the batch that the consumer holds, at most `depth` batches are decoded or being decoded. Threads are enough,
    since Pillow decodes and resizes without the interpreter lock. Closing the generator, as leaving a
    `contextlib.closing` block does, drops the queue and waits for the few images that are being decoded.

    Args:
        paths: The image files; the iterable is consumed only as far ahead as needed.
        preprocessing: Turns an image into pixels.
        batch_size: Images in a batch; the last one may have fewer.
        workers: Number of threads.
        depth: Number of batches to decode ahead of the consumer.
    """
    if min(batch_size, workers, depth) < 1:
        raise ValueError(f"batch_size {batch_size}, workers {workers} and depth {depth} must be at least 1")
    remaining = iter(paths)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def start_batch() -> list[Decoded]:
        return [(path, pool.submit(_decode, path, preprocessing)) for path in islice(remaining, batch_size)]

    try:
        ahead = deque(start_batch() for _ in range(depth))
        while ahead[0]:  # an empty batch means that there are no more paths
            ahead.append(start_batch())
            yield _gather(ahead.popleft(), preprocessing)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode(path: Path, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    with open_image(path) as image:
        return preprocessing.pixels(image)


def _gather(images: list[Decoded], preprocessing: Preprocessing) -> ImageBatch:
    """Wait for the images of one batch, and separate out those that could not be read."""
    paths: list[Path] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    failures: list[tuple[Path, str]] = []
    for path, decoded in images:
        try:
            pixels.append(decoded.result())
            paths.append(path)
        except UnreadableImageError as error:
            failures.append((path, error.cause))
    none = np.empty((0, preprocessing.height, preprocessing.width, 3), np.uint8)
    return ImageBatch(tuple(paths), np.stack(pixels) if pixels else none, tuple(failures))
