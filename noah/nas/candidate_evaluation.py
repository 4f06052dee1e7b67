"""Evaluates candidates on validation images with their merged networks, and keeps the most recently used ones."""

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
"""How much memory merged networks may take. A race returns to most candidates soon or never, so a few are enough."""


Ask = Callable[[Subnet, NDArray[np.int64]], Logits]
"""Takes a subnet and image indices, int64, (m), and returns the subnet's logits, float32, (m, classes)."""


def candidate_logits(
    supernet: Supernet, validation: Pixels, preprocessing: Preprocessing, hardware: Hardware, batch_size: int
) -> Ask:
    """Make a function that computes a subnet's logits for any of the validation images.

    Args:
        supernet: The trained supernet, in evaluation mode.
        validation: The validation images.
        preprocessing: Gives mean and standard deviation for normalizing the images.
        hardware: Gives device and precision.
        batch_size: The most images that go through a network at once.
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
    """Make a function that evaluates a subnet on some images, given the labels of all images, int64, (n)."""
    return lambda subnet, images: look_at(images, labels[images], ask(subnet, images))


def smallest_batch(hardware: Hardware, batch_size: int) -> int:
    """The smallest number of images that it makes sense to evaluate at once.

    On a CPU the time grows with their number from a few images on; a GPU takes as long for a few as for a whole batch.
    """
    return min(8, batch_size) if hardware.device.type == "cpu" else batch_size
