"""Decoded images that live on the device that trains, as bytes, where they take a small part of its memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.data.pixels.pixels import Pixels
from noah.hardware.memory import format_bytes

DEVICE_SHARE = 0.25
"""Of the device's free memory: the rest is for weights, activations and the optimizer."""


class DevicePixels(Pixels):
    """Images of one split in main memory and, as bytes, on a device; made by `place`."""

    def __init__(self, pixels: Pixels, resident: Tensor, reason: str) -> None:
        super().__init__(pixels.split, pixels.preprocessing, pixels.memory, reason)
        self._resident = resident

    def fetch(self, indices: NDArray[np.int64]) -> Tensor:
        """Some images, in the order of `indices`, which alone travel to the device.

        Returns:
            uint8 (B, height, width, 3) on the device.
        """
        return self._resident.index_select(0, torch.from_numpy(indices).to(self._resident.device))


def place(pixels: Pixels, device: torch.device, free: int | None = None) -> Pixels:
    """Put images on the device if they are in memory and fit, and leave them where they are otherwise.

    Args:
        pixels: The images.
        device: Where they are needed. On a CPU nothing is copied.
        free: Bytes of its memory that nobody uses; asked of the device if not given.

    Returns:
        The images, whose `reason` says where they are and why.
    """
    if device.type == "cpu" or pixels.memory is None:
        return pixels
    if free is None:
        free = free_memory(device)
    if free is None:
        return pixels
    needed, limit = pixels.memory.nbytes, int(DEVICE_SHARE * free)
    size = f"{len(pixels):,} images take {format_bytes(needed)}"
    share = f"the {format_bytes(limit)} that are {DEVICE_SHARE:.0%} of its free memory"
    if needed > limit:
        reason = f"{size}, more than {share} of the {device.type} device: each batch travels there as bytes."
        return Pixels(pixels.split, pixels.preprocessing, pixels.memory, reason)
    resident = torch.from_numpy(pixels.memory).to(device)
    return DevicePixels(pixels, resident, f"{size}, within {share}: they live on the {device.type} device as bytes.")


def free_memory(device: torch.device) -> int | None:
    """Bytes of a device's memory that nobody uses; None where it does not tell."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
