"""Shows validation images to candidates: by their merged networks, of which those used last are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import nn

from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.evaluation.score import Logits, compute_logits
from noah.hardware.bf16_weights import rounded_weights, with_rounded_weights
from noah.hardware.device import Hardware
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.nas.racing import Look, look_at
from noah.space.subnet import Subnet

_KEPT_BYTES = 2**30
"""Of merged networks. A race comes back to most candidates soon or never, so a few are enough."""


Ask = Callable[[Subnet, NDArray[np.int64]], Logits]
"""Logits float32 (m, classes) that a subnet gives the images with these indices, int64 (m)."""


def candidate_logits(
    supernet: Supernet, validation: Pixels, preprocessing: Preprocessing, hardware: Hardware, batch_size: int
) -> Ask:
    """A function that asks a subnet for its logits.

    Args:
        supernet: Trained, in evaluation mode.
        validation: The images.
        preprocessing: Their normalization.
        hardware: Device and precision.
        batch_size: Images at a time, at most.
    """
    size: int = sum(parameter.nbytes for parameter in supernet.backbone.parameters())
    shared = rounded_weights(supernet.backbone) if hardware.precision == "bf16" else {}

    @lru_cache(maxsize=max(2, _KEPT_BYTES // size))
    def merged(subnet: Subnet) -> nn.Module:
        return with_rounded_weights(merge(supernet, subnet), hardware, shared)

    def ask(subnet: Subnet, images: NDArray[np.int64]) -> Logits:
        return compute_logits(merged(subnet), validation, preprocessing, hardware, batch_size, chosen=images)

    return ask


def showing(ask: Ask, labels: NDArray[np.int64]) -> Callable[[Subnet, NDArray[np.int64]], Look]:
    """A function that shows images to a subnet and judges its answers by the labels of all images, int64 (n)."""
    return lambda subnet, images: look_at(images, labels[images], ask(subnet, images))


def smallest_batch(hardware: Hardware, batch_size: int) -> int:
    """How few images at a time are worth a look.

    A CPU takes a time that grows with their number from a few on; a GPU takes as long for few as for a whole batch.
    """
    return min(8, batch_size) if hardware.device.type == "cpu" else batch_size
