"""Training images that are augmented anew each time they are asked for, in this process or in others beside it."""

from __future__ import annotations

import ctypes
import os
import signal
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
from noah.progress import counted

Draw = tuple[NDArray[np.int64], tuple[int, ...]]
"""A batch to be drawn: the indices of its images, and the words of the seed to which each image adds its own."""

_MOST_WORKERS = 16
PREFETCHED = 2
"""Batches that each process prepares ahead of the step that takes them."""
_PR_SET_PDEATHSIG = 1


class _Source(Protocol):
    """Where images come from before they are augmented."""

    in_memory: bool
    reason: str

    def images(self, indices: np.ndarray) -> list[Image.Image]: ...


class AugmentedPixels:
    """Images of one split, changed at random; made by `load_augmented`.

    An image's pixels depend on the image and on the seed of its batch, and neither on the other images of the batch nor
    on the number of processes.

    Attributes:
        labels: int64 (n,).
        in_memory: Whether the images were decoded once for all.
        reason: Why, in one sentence with the sizes.
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

    def batches(self, draws: Iterable[Draw]) -> Generator[NDArray[np.uint8]]:
        """The batches of `draws`, in their order; closing the generator ends the processes.

        With processes the next draws are taken before their batches are asked for.

        Yields:
            uint8 (B, height, width, 3).

        Raises:
            UnreadableImageError: Images that are not in memory cannot be decoded; all of the batch's are counted.
        """
        fetched: Iterable[NDArray[np.uint8] | UnreadableImageError] = map(self._fetch, draws)
        if self._workers:
            # Batches come back as NumPy arrays through pipes: tensors would take shared memory, which containers limit.
            loader: Any = DataLoader(
                _Batches(self._fetch),  # type: ignore[arg-type]  # it has no length, and with a sampler needs none
                batch_size=None,
                sampler=draws,
                num_workers=self._workers,
                prefetch_factor=PREFETCHED,
                collate_fn=_unchanged,
                generator=torch.Generator(),
                worker_init_fn=partial(_end_with, os.getpid()),
                multiprocessing_context="fork" if sys.platform == "linux" else None,
            )
            fetched = loader
        for batch in fetched:
            if isinstance(batch, UnreadableImageError):
                raise batch
            yield batch

    def _fetch(self, draw: Draw) -> NDArray[np.uint8] | UnreadableImageError:
        """One batch, or what is wrong with it: an error raised in another process would come back in other words."""
        indices, seed = draw
        try:
            images = self._source.images(indices)
        except UnreadableImageError as error:
            return error
        seeds = [(*seed, 1 + index) for index in indices.tolist()]
        return np.stack([self._augmentation.apply(image, words) for image, words in zip(images, seeds, strict=True)])


TrainingPixels = Pixels | AugmentedPixels
"""What a training takes: the same pixels every time, or augmented ones."""


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
    """Decode what is to be augmented into memory, as far as it fits: originals for random crops, else resized images.

    Args:
        split: The images.
        preprocessing: Gives their size and how they get it.
        augmentation: What is done to them.
        workers: Processes that augment beside this one; with 0 it does so itself.
        memory_limit: Bytes that decoded images may take; half of what is free now, if not given.
        progress: Called with the number of images decoded so far and of all.
        read: These images, where they are in memory already; without effect if it is not what is to be augmented.

    Raises:
        UnreadableImageError: Images cannot be decoded; all of them are counted, the first are named with their cause.
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
    """The number of processes that augment images, and why.

    An image takes 3 to 11 ms on one core, decoding included. That is a hundredth of what ViT-B/16 takes to train on it
    on a CPU, and several times what it takes on a large GPU.

    Args:
        asked: The number in the settings; None leaves it to be chosen.
        device: Type of the device that trains, such as cpu or cuda.
        trainings: Processes of this machine that train together and share its cores.
    """
    if asked is not None:
        return asked, "as set"
    if device == "cpu":
        return 0, "on a CPU nearly all the time goes into the network"
    if sys.platform != "linux":
        return 0, "other processes would need copies of the images on this system"
    cores = len(os.sched_getaffinity(0))
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
    """What torch's loader takes for a dataset; its indices are draws."""

    def __init__(self, fetch: Callable[[Draw], NDArray[np.uint8] | UnreadableImageError]) -> None:
        self._fetch = fetch

    def __getitem__(self, draw: Draw) -> NDArray[np.uint8] | UnreadableImageError:
        return self._fetch(draw)


def _unchanged(batch: object) -> object:
    return batch


def _end_with(parent: int, _: int) -> None:
    """Leave Ctrl-C to the parent, and on Linux end at once when it is killed.

    A process that lived on would wait for ever to hand over its batch, and keep the run's lock.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
