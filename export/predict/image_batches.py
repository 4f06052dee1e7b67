"""Decodes images ahead of time in worker threads, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from noah.data.decode import Remark, Source, decode_image
from noah.data.decoding import AS_STORED, Decoding
from noah.data.in_threads import in_threads
from noah.errors import UnreadableImageError


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that is no file of this machine.

    Attributes:
        name: What it is called in the predictions.
        open: Gives its bytes, or a file; may raise UnreadableImageError.
    """

    name: str
    open: Callable[[], Source]

    def __str__(self) -> str:
        return self.name


Item = Path | NamedImage
"""What can be predicted; its text is its name."""

Read = tuple[npt.NDArray[np.uint8], tuple[Remark, ...]]
"""The pixels of an image, and what was done to it."""


@dataclass(frozen=True)
class ImageBatch:
    """Consecutive images of the input.

    Attributes:
        paths: The B images that could be read, in the order of the input.
        pixels: What the model takes of each path, uint8 (H, W, 3); of one size, or as large as each image is.
        failures: (path, cause) of each image among them that could not be read.
        remarks: (path, remark) for what was done to some of `paths` when they were decoded.
    """

    paths: tuple[Item, ...]
    pixels: tuple[npt.NDArray[np.uint8], ...]
    failures: tuple[tuple[Item, str], ...]
    remarks: tuple[tuple[Item, Remark], ...] = ()


def read_ahead(
    paths: Iterable[Item],
    to_pixels: Callable[[Image.Image], npt.NDArray[np.uint8]],
    decoding: Decoding = AS_STORED,
    *,
    batch_size: int,
    workers: int,
    depth: int,
) -> Generator[ImageBatch, None, None]:
    """Yield the images in batches, in order, while worker threads decode the next ones.

    Beside the batch that the consumer holds, at most `depth` batches are decoded or being decoded. Closing the
    generator, as leaving a `contextlib.closing` block does, drops what is queued and waits for the few images being
    decoded.

    Args:
        paths: The images; the iterable is consumed only as far ahead as needed.
        to_pixels: Turns an RGB image into what the model takes; may raise UnreadableImageError.
        decoding: How the files are read.
        batch_size: Images in a batch; the last one may have fewer.
        workers: Number of threads.
        depth: Number of batches to decode ahead of the consumer.
    """
    if min(batch_size, workers, depth) < 1:
        raise ValueError(f"batch_size {batch_size}, workers {workers} and depth {depth} must be at least 1")

    def decode(item: Item) -> Read:
        found = decode_image(item if isinstance(item, Path) else item.open(), decoding)
        return to_pixels(found.image), found.remarks

    with closing(in_threads(paths, decode, ahead=depth * batch_size, workers=workers)) as decoded:
        while images := list(islice(decoded, batch_size)):
            yield _gather(images)


def _gather(images: list[tuple[Item, Read | UnreadableImageError]]) -> ImageBatch:
    """Keep apart the images of one batch that could not be read."""
    paths: list[Item] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    failures: list[tuple[Item, str]] = []
    remarks: list[tuple[Item, Remark]] = []
    for path, found in images:
        if isinstance(found, UnreadableImageError):
            failures.append((path, found.cause))
        else:
            paths.append(path)
            pixels.append(found[0])
            remarks += [(path, remark) for remark in found[1]]
    return ImageBatch(tuple(paths), tuple(pixels), tuple(failures), tuple(remarks))
