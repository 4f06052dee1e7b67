"""Decoded images that live on the training device, as bytes, if they take only a small part of its memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.data.pixels.pixels import Pixels
from noah.hardware.memory import format_bytes

DEVICE_SHARE = 0.25
"""The share of the device's free memory that images may take; the rest is for weights, activations and optimizer."""


class DevicePixels(Pixels):
    """Images of one split in main memory and also, as bytes, on a device; made by `place`."""

    def __init__(self, pixels: Pixels, resident: Tensor, reason: str) -> None:
        super().__init__(pixels.split, pixels.preprocessing, pixels.memory, reason)
        self._resident = resident

    def fetch(self, indices: NDArray[np.int64]) -> Tensor:
        """Select images, in the order of `indices`; only the indices travel to the device.

        Returns:
            uint8, (B, height, width, 3), on the device.
        """
        return self._resident.index_select(0, torch.from_numpy(indices).to(self._resident.device))


def place(pixels: Pixels, device: torch.device, free: int | None = None) -> Pixels:
    """Put images on the device if they are in memory and fit; otherwise leave them where they are.

    Args:
        pixels: The images to place.
        device: The device that needs them; nothing is copied for a CPU.
        free: Bytes of free memory on the device; by default the device is asked.

    Returns:
        The images; their `reason` says where they are and why.
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
    """A device's free memory in bytes; None if the device cannot tell."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
