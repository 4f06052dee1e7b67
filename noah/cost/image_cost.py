"""What one image costs a backbone at the size that it comes with, and where that is dear, at the usual size."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from noah.backbone.architecture import Architecture
from noah.backbone.families.registry import view_of
from noah.backbone.outline import outline
from noah.cost.macs import backbone_macs

DEAR_TOKENS = 600
"""More tokens than this are dear: 384 px in patches of 16, or 336 px in patches of 14, are 577."""
USUAL_SIDE = 224
"""The side in pixels that most vision transformers are used with."""


@dataclass(frozen=True, slots=True)
class ImageCost:
    """The work for one image, without a head.

    Args:
        side: Height and width in pixels.
        tokens: Class, register and patch tokens.
        macs: Multiply-accumulates of the plain backbone.
    """

    side: int
    tokens: int
    macs: int


def image_tokens(backbone: nn.Module) -> int:
    """The number of class, register and patch tokens of an image."""
    return view_of(backbone).image_tokens


def cheaper_size(architecture: Architecture, backbone: nn.Module) -> ImageCost | None:
    """The cost at about 224 px of a backbone whose own size is dear; None if it is not.

    Args:
        architecture: What to build at the other size.
        backbone: The same at its own size, without a head; its outline is enough.
    """
    view = view_of(backbone)
    if view.image_tokens <= DEAR_TOKENS:
        return None
    patch = max(view.stride)
    side = max(1, round(USUAL_SIDE / patch)) * patch
    if side >= min(view.image_size):
        return None
    smaller = outline(architecture.name, img_size=side, **architecture.arguments)
    return ImageCost(side, image_tokens(smaller), backbone_macs(smaller, 0))


def size_advice(architecture: Architecture, backbone: nn.Module) -> str:
    """Recommend a smaller image size where the backbone's own is dear, with the cost of both; empty if it is not."""
    cheaper = cheaper_size(architecture, backbone)
    if cheaper is None:
        return ""
    return (
        f"an image of {view_of(backbone).image_size[1]} px is {image_tokens(backbone):,} tokens and "
        f"{backbone_macs(backbone, 0) / 1e9:.1f} G multiply-accumulates; --image-size {cheaper.side} makes it "
        f"{cheaper.tokens:,} tokens and {cheaper.macs / 1e9:.1f} G"
    )
