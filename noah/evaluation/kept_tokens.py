"""The tokens of images behind the first blocks of a network, computed once where nothing in these blocks changes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.data.pixels.device_pixels import DEVICE_SHARE, free_memory
from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import to_images
from noah.hardware.device import Hardware
from noah.hardware.memory import available_memory, format_bytes
from noah.progress import Bar

MEMORY_SHARE = 0.25
"""The share of free main memory that tokens may take; pixels, weights and activations take some, too."""
DISK_SHARE = 0.5
"""The share of a disk's free space that they may take where memory is too small."""


class KeptTokens:
    """The tokens of all images behind some blocks; made by `keep_tokens`.

    Attributes:
        blocks: How many blocks the images have gone through.
        where: Where the tokens are, and how much room they take.
    """

    def __init__(self, stored: Tensor, blocks: int, device: torch.device, where: str) -> None:
        self._stored = stored
        self.blocks = blocks
        self.where = where
        self._device = device

    def __len__(self) -> int:
        return len(self._stored)

    def fetch(self, indices: NDArray[np.int64]) -> Tensor:
        """Give the tokens (B, N, D) of images, on the device, in the order of `indices`."""
        places = torch.from_numpy(indices).to(self._stored.device)
        return self._stored.index_select(0, places).to(self._device)


@torch.no_grad()
def keep_tokens(
    compute: Callable[[Tensor], Tensor],
    blocks: int,
    pixels: Pixels,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    *,
    folder: Path | None = None,
    bar: Bar | None = None,
    memory: int | None = None,
) -> KeptTokens | None:
    """Compute the tokens of all images and keep them: on the device, in memory, or else in a file mapped into memory.

    The file has no name and is gone when the tokens are.

    Args:
        compute: Maps normalized images (B, 3, H, W) to tokens (B, N, D).
        blocks: How many blocks that are.
        pixels: The images.
        preprocessing: Gives mean and standard deviation for normalizing them.
        hardware: Gives device and precision.
        batch_size: How many images go through the blocks at once.
        folder: Where the file is made; None keeps them in memory or not at all.
        bar: Updated with the number of images done.
        memory: Bytes of main memory that the tokens may take; by default a share of what is free.

    Returns:
        The tokens; None if there is no room for them.
    """
    stored, where = None, ""
    for start in range(0, len(pixels), batch_size):
        indices = np.arange(start, min(start + batch_size, len(pixels)))
        images = to_images(pixels.fetch(indices), preprocessing, hardware.device)
        with hardware.autocast():
            tokens = compute(images)
        if stored is None:
            found = _room(len(pixels), tokens, folder, memory)
            if found is None:
                return None
            stored, where = found
        stored[start : start + len(tokens)] = tokens
        if bar:
            bar.update(start + len(indices))
    return None if stored is None else KeptTokens(stored, blocks, hardware.device, where)


def _room(count: int, tokens: Tensor, folder: Path | None, memory: int | None) -> tuple[Tensor, str] | None:
    """An uninitialized tensor (`count`, N, D) and where it is; None if neither memory nor disk has room for it."""
    shape = (count, *tokens.shape[1:])
    size = count * tokens[0].numel() * tokens.element_size()
    told = format_bytes(size)
    if (free := free_memory(tokens.device)) is not None and size <= DEVICE_SHARE * free:
        on_device = torch.empty(shape, dtype=tokens.dtype, device=tokens.device)
        return on_device, f"{told} on the {tokens.device.type} device"
    if size <= (int(MEMORY_SHARE * available_memory()) if memory is None else memory):
        return torch.empty(shape, dtype=tokens.dtype), f"{told} in memory"
    if folder is None or size > DISK_SHARE * shutil.disk_usage(folder).free:
        return None
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is told here, and not by a signal when the tokens are written
            os.posix_fallocate(file.fileno(), 0, size)
        mapped = np.memmap(file, dtype=np.uint8, mode="w+", shape=(size,))
    return torch.from_numpy(mapped).view(tokens.dtype).view(shape), f"{told} in a file, as memory is short"
