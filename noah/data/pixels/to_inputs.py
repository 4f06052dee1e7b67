"""From stored pixels to a network's input images, on the device."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.data.pixels.preprocessing import Preprocessing

Batch = NDArray[np.uint8] | Tensor
"""Pixels, uint8, (B, H, W, 3), in main memory or on a device."""


def to_images(pixels: Batch, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Normalize a batch on the device: (pixels / 255 - mean) / std.

    Pixels that are not on the device yet travel there as bytes. On a CPU the result equals `Preprocessing.normalize`
    bit for bit.

    Returns:
        float32, (B, 3, H, W).
    """
    stored = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.ascontiguousarray(pixels))
    images = stored.to(device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return images.div_(255).sub_(mean).div_(std)
