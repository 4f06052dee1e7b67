"""How many images go through a network at once where nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from noah.data.pixels.device_pixels import free_memory
from noah.hardware.device import Choice, Hardware
from noah.hardware.memory import format_bytes
from noah.space.search_space import SearchSpace

if TYPE_CHECKING:
    from noah.backbone.load import Backbone

USUAL = 64
"""On a CPU, where larger batches are no faster and only take memory."""
LARGEST = 512
"""On a GPU, whose arithmetic is busy with fewer."""
MEMORY_SHARE = 0.25
"""Of the device's free memory: other processes, and images that live there, need some too."""
_BYTES = {"fp32": 64, "bf16": 40}
"""Of one number of a token's width D: the tokens twice, queries, keys and values, and the hidden layer of 4 D twice."""


def choose_evaluation_batch(
    hardware: Hardware, backbone: Backbone, space: SearchSpace, free: int | None = None
) -> Choice | None:
    """A batch size by the GPU's free memory; None elsewhere, where `USUAL` serves.

    It is a power of two, so that a little more or less memory in use at another time changes nothing.

    Args:
        hardware: Device and precision.
        backbone: Its tokens and their width.
        space: Its largest prompt, whose tokens come on top.
        free: Bytes of the device that nobody uses; asked of it if not given.
    """
    free = free_memory(hardware.device) if free is None else free
    if free is None:
        return None
    model: Any = backbone.model
    height, width = backbone.image_size
    tokens = model.patch_embed.num_patches + model.num_prefix_tokens + max(space.largest.prompt)
    image = tokens * model.embed_dim * _BYTES[hardware.precision] + 3 * height * width * 5  # as bytes and as float32
    fitting = max(1, int(MEMORY_SHARE * free) // image)
    size = min(LARGEST, 1 << (fitting.bit_length() - 1))
    reason = f"an image needs about {format_bytes(image)}, and {MEMORY_SHARE:.0%} of {format_bytes(free)} may be used"
    return Choice("batch", str(size), f"images at once in evaluation: {reason}")
