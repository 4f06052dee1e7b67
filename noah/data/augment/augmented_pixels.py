"""Training images that are augmented afresh each time they are requested, in this process or in worker processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from noah.data.augment.image import Augmentation
from noah.data.pixels.originals import Originals, load_originals
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import Split
from noah.errors import UnreadableImageError
from noah.hardware.child_processes import end_with
from noah.hardware.cores import usable_cores
from noah.progress import counted

Draw = tuple[NDArray[np.int64], tuple[int, ...]]
"""A batch to be fetched: the indices of its images, and the words of its seed, to which each image adds its own."""

_MOST_WORKERS = 16
PREFETCHED = 2
"""How many batches each worker prepares ahead of the step that takes them."""


class _Source(Protocol):
    """Where images come from before they are augmented."""

    in_memory: bool
    reason: str

    def images(self, indices: np.ndarray) -> list[Image.Image]: ...


class AugmentedPixels:
    """Images of one split, changed at random; made by `load_augmented`.

    The pixels of an image depend on the image and the seed of its batch, but not on the other images in the batch or
    the number of workers.

    Attributes:
        labels: int64, (n,).
        in_memory: Whether the images were all decoded into memory.
        reason: One sentence that says why, with the sizes.
    """

    def __init__(self, labels: np.ndarray, source: _Source, augmentation: Augmentation, workers: int) -> None:
        self.labels = labels
        self.in_memory = source.in_memory
        self.reason = source.reason
        self._source = source
        self._augmentation = augmentation
        self._workers = workers

    def __len__(self) -> int:
        return len(self.labels)

    def in_one_process(self) -> AugmentedPixels:
        """The same images, changed in the process that asks for them, without others beside it."""
        return AugmentedPixels(self.labels, self._source, self._augmentation, 0)

    def batches(self, draws: Iterable[Draw]) -> Generator[NDArray[np.uint8]]:
        """Yield the batches of `draws` in order; closing the generator ends the worker processes.

        With workers, draws are taken before their batches are requested.

        Yields:
            uint8, (B, height, width, 3).

        Raises:
            UnreadableImageError: If images that are not in memory cannot be decoded; it counts all those in the batch.
        """
        fetched: Iterable[NDArray[np.uint8] | UnreadableImageError] = map(self._fetch, draws)
        if self._workers:
            # Batches come back as NumPy arrays through pipes: tensors would use shared memory, which containers limit.
            loader: Any = DataLoader(
                _Batches(self._fetch),  # type: ignore[arg-type]  # it has no length, and with a sampler needs none
                batch_size=None,
                sampler=draws,
                num_workers=self._workers,
                prefetch_factor=PREFETCHED,
                collate_fn=_unchanged,
                generator=torch.Generator(),
                worker_init_fn=partial(_begin, os.getpid()),
                multiprocessing_context="fork" if sys.platform == "linux" else None,
            )
            fetched = loader
        for batch in fetched:
            if isinstance(batch, UnreadableImageError):
                raise batch
            yield batch

    def _fetch(self, draw: Draw) -> NDArray[np.uint8] | UnreadableImageError:
        """Fetch one batch, or return its error: one raised in a worker process would arrive with another text."""
        indices, seed = draw
        try:
            images = self._source.images(indices)
        except UnreadableImageError as error:
            return error
        seeds = [(*seed, 1 + index) for index in indices.tolist()]
        return np.stack([self._augmentation.apply(image, words) for image, words in zip(images, seeds, strict=True)])


TrainingPixels = Pixels | AugmentedPixels
"""What the training loop accepts: the same pixels every time, or augmented ones."""


def load_augmented(
    split: Split,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    *,
    workers: int = 0,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    read: Pixels | Originals | None = None,
) -> AugmentedPixels:
    """Decode the images to be augmented into memory, if they fit: originals for random crops, else resized images.

    Args:
        split: The images to augment.
        preprocessing: The size of the images, and how they are brought to it.
        augmentation: The changes to each image.
        workers: The number of processes that augment; with 0 this process does it itself.
        memory_limit: Bytes that the decoded images may take; by default half of the memory that is free now.
        progress: Called with the number of images decoded so far and the number of all images.
        read: These images, if they are in memory already; ignored unless they are what is to be augmented.

    Raises:
        UnreadableImageError: If images cannot be decoded; it counts all of them and names the first with their causes.
    """
    source: _Source
    if augmentation.crops:
        originals = read if isinstance(read, Originals) else None
        source = originals or load_originals(split, memory_limit=memory_limit, progress=progress)
    else:
        pixels = read if isinstance(read, Pixels) else None
        source = _Resized(pixels or load_pixels(split, preprocessing, memory_limit=memory_limit, progress=progress))
    return AugmentedPixels(split.labels, source, augmentation, workers)


def choose_workers(asked: int | None, device: str, trainings: int = 1) -> tuple[int, str]:
    """Choose the number of processes that augment images, and say why.

    An image takes 3 to 11 ms on one core, including decoding. That is a hundredth of the time that ViT-B/16 takes to
    train on it on a CPU, and several times as long as it takes on a large GPU.

    Args:
        asked: The number in the settings; None leaves the choice to this function.
        device: The type of the device that trains, such as cpu or cuda.
        trainings: How many processes train together on this machine and share its cores.
    """
    if asked is not None:
        return asked, "as set"
    if device == "cpu":
        return 0, "on a CPU nearly all the time goes into the network"
    if sys.platform != "linux":
        return 0, "other processes would need copies of the images on this system"
    cores = usable_cores().count
    workers = max(1, min(cores // trainings - 1, _MOST_WORKERS))
    return workers, f"so that the GPU does not wait; {counted(cores, 'cores')}"


class _Resized:
    """Images at the size that the backbone takes."""

    def __init__(self, pixels: Pixels) -> None:
        self.in_memory = pixels.in_memory
        self.reason = pixels.reason
        self._pixels = pixels

    def images(self, indices: np.ndarray) -> list[Image.Image]:
        return [Image.fromarray(pixels) for pixels in self._pixels.batch(indices)]


class _Batches:
    """A dataset for torch's loader; its indices are draws."""

    def __init__(self, fetch: Callable[[Draw], NDArray[np.uint8] | UnreadableImageError]) -> None:
        self._fetch = fetch

    def __getitem__(self, draw: Draw) -> NDArray[np.uint8] | UnreadableImageError:
        return self._fetch(draw)


def _unchanged(batch: object) -> object:
    return batch


def _begin(parent: int, _: int) -> None:
    end_with(parent)
