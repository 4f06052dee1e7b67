"""Which backbones the method covers; every other is refused by name, with the reason.

The exact merge rewrites the inside of a block, so it has to know that inside. It knows timm's `VisionTransformer` with
pre-norm `Block`s, plain `Attention` (with or without query/key norm and output norm), `Mlp`, `GluMlp` or `SwiGLU`,
LayerScale, registers, any norm layer, and class-token or average pooling. This file also builds an architecture without
its trained weights, for computing costs.
"""

from __future__ import annotations

from typing import Any, cast

import timm
from timm.layers import Attention, GluMlp, LayerScale, Mlp, PatchEmbed, SwiGLU
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from noah.backbone.architecture import Architecture
from noah.errors import BackboneError, UnsupportedBackboneError


def check_supported(backbone: nn.Module) -> None:
    """Refuse a backbone that the method does not cover.

    Raises:
        UnsupportedBackboneError: If it is not covered; it lists every reason found.
    """
    reasons = unsupported_parts(backbone)
    if reasons:
        raise UnsupportedBackboneError(
            f"The backbone {type(backbone).__name__} is not supported: {'; '.join(reasons)}.",
            "Use a timm VisionTransformer with plain blocks and class-token or average pooling, "
            "such as vit_base_patch16_224.",
        )


def unsupported_parts(backbone: Any) -> list[str]:
    """List the reasons why a backbone cannot be used; empty if it can."""
    if type(backbone) is not VisionTransformer:
        return [f"the architecture {type(backbone).__name__} is not timm's plain VisionTransformer"]
    reasons = []
    if backbone.global_pool not in ("token", "avg"):
        reasons.append(f"pooling {backbone.global_pool!r} mixes tokens in a way that the merge does not cover")
    if backbone.pool_include_prefix:
        reasons.append("pool_include_prefix averages class token and registers into the output")
    if type(backbone.patch_embed) is not PatchEmbed or not isinstance(backbone.patch_embed.proj, nn.Conv2d):
        reasons.append(f"the patch embedding {type(backbone.patch_embed).__name__} is not one convolution")
    elif backbone.patch_embed.dynamic_img_pad:
        reasons.append("dynamic_img_pad pads the image inside the network")
    if getattr(backbone, "in_chans", 3) != 3:
        reasons.append(f"it takes {backbone.in_chans} channels, not 3")
    for index, block in enumerate(backbone.blocks):
        found = _unsupported_block_parts(block)
        reasons += [f"block {index}: {reason}" for reason in found]
        if found:
            break  # the blocks are alike, so one is enough
    return reasons


def _unsupported_block_parts(block: Any) -> list[str]:
    if type(block) is not Block:
        return [f"its type is {type(block).__name__}, not Block"]
    reasons = []
    if type(block.attn) is not Attention:
        reasons.append(f"its attention is {type(block.attn).__name__}, not Attention")
    elif block.attn.gate is not None:
        reasons.append("its attention is gated")
    if type(block.mlp) not in (Mlp, GluMlp, SwiGLU) or not isinstance(block.mlp.fc2, nn.Linear):
        reasons.append(f"its MLP is {type(block.mlp).__name__}, not Mlp, GluMlp or SwiGLU")
    reasons += [
        f"its residual scale is {type(scale).__name__}, not LayerScale"
        for scale in (block.ls1, block.ls2)
        if not isinstance(scale, LayerScale | nn.Identity)
    ]
    return reasons


def untrained_backbone(architecture: str, image_size: tuple[int, int], num_classes: int) -> nn.Module:
    """Build a backbone with a head and random weights; nothing is downloaded or read.

    Under `torch.device("meta")` it takes no memory, and only its shapes can be used.

    Args:
        architecture: The text of an `Architecture`: timm's name, and arguments of its constructor in brackets.
        image_size: Height and width of the input in pixels.
        num_classes: The number of outputs of the head.

    Raises:
        BackboneError: If the installed timm has no such architecture or cannot build it at this size.
        UnsupportedBackboneError: If the method does not cover it.
    """
    try:
        named = Architecture.read(architecture)
        model = timm.create_model(named.name, img_size=image_size, num_classes=num_classes, **named.arguments)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        # timm raises any of these, from its registry or from the constructor of the model.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"timm {timm.__version__} cannot build the architecture {architecture}: {cause}",
            "Install the timm that the run was made with; its run.yaml names the version.",
        ) from error
    check_supported(model)
    return cast(nn.Module, model).requires_grad_(False).eval()
