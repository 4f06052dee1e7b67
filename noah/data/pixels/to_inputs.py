"""From stored pixels to the images that a network takes, on the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.data.pixels.preprocessing import Preprocessing

Batch = NDArray[np.uint8] | Tensor
"""Pixels, uint8 (B, H, W, 3): in main memory, or on a device."""


def to_images(pixels: Batch, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Normalize a batch: (pixels / 255 - mean) / std, on the CPU the same floats as `Preprocessing.normalize`.

    Args:
        pixels: If they are not on the device yet, they travel there as bytes.
        preprocessing: Mean and standard deviation.
        device: Where to compute.

    Returns:
        float32 (B, 3, H, W).
    """
    stored = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.ascontiguousarray(pixels))
    images = stored.to(device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return images.div_(255).sub_(mean).div_(std)
