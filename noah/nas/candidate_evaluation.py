"""Evaluates candidates on validation images with their merged networks, and keeps the most recently used ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.evaluation.kept_tokens import KeptTokens, keep_tokens
from noah.evaluation.score import Logits, compute_logits
from noah.hardware.bf16_weights import rounded_weights, with_rounded_weights
from noah.hardware.device import Hardware
from noah.model.merge import MergedViT, merge
from noah.model.supernet import Supernet
from noah.nas.racing import Look, look_at
from noah.space.subnet import Subnet

_KEPT_BYTES = 2**30
"""How much memory merged networks may take. A race returns to most candidates soon or never, so a few are enough."""


Ask = Callable[[Subnet, NDArray[np.int64]], Logits]
"""Takes a subnet and image indices, int64, (m), and returns the subnet's logits, float32, (m, classes)."""


def candidate_logits(
    supernet: Supernet,
    validation: Pixels,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    kept: KeptTokens | None = None,
) -> Ask:
    """Make a function that computes a subnet's logits for any of the validation images.

    Args:
        supernet: The trained supernet, in evaluation mode.
        validation: The validation images.
        preprocessing: Gives mean and standard deviation for normalizing the images.
        hardware: Gives device and precision.
        batch_size: The most images that go through a network at once.
        kept: What `validation_tokens` returned.
    """
    size: int = sum(parameter.nbytes for parameter in supernet.backbone.parameters())
    shared = rounded_weights(supernet.backbone) if hardware.precision == "bf16" else {}

    @lru_cache(maxsize=max(2, _KEPT_BYTES // size))
    def merged(subnet: Subnet) -> MergedViT:
        return with_rounded_weights(merge(supernet, subnet), hardware, shared)

    def ask(subnet: Subnet, images: NDArray[np.int64]) -> Logits:
        network = merged(subnet)
        if kept is None:
            return compute_logits(network, validation, preprocessing, hardware, batch_size, chosen=images)
        behind = partial(network.from_tokens, blocks=kept.blocks)
        return compute_logits(behind, kept, preprocessing, hardware, batch_size, chosen=images)

    return ask


def validation_tokens(
    supernet: Supernet,
    validation: Pixels,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    folder: Path | None,
) -> KeptTokens | None:
    """Compute the tokens of the validation images behind the first blocks that no candidate has a module in.

    The arguments are those of `candidate_logits`; in `folder` a file is made for what does not fit into memory.

    Returns:
        The tokens; None if there are no such blocks, or no room.
    """
    blocks = supernet.largest.bare_blocks
    if not blocks:
        return None
    plain = with_rounded_weights(merge(supernet, Subnet.uniform(supernet.largest.depth)), hardware)
    compute = partial(plain.tokens, blocks=blocks)
    return keep_tokens(compute, blocks, validation, preprocessing, hardware, batch_size, folder=folder)


def showing(ask: Ask, labels: NDArray[np.int64]) -> Callable[[Subnet, NDArray[np.int64]], Look]:
    """Make a function that evaluates a subnet on some images, given the labels of all images, int64, (n)."""
    return lambda subnet, images: look_at(images, labels[images], ask(subnet, images))


def smallest_batch(hardware: Hardware, batch_size: int) -> int:
    """The smallest number of images that it makes sense to evaluate at once.

    On a CPU the time grows with their number from a few images on; a GPU takes as long for a few as for a whole batch.
    """
    return min(8, batch_size) if hardware.device.type == "cpu" else batch_size
