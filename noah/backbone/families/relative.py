"""timm's `VisionTransformerRelPos`, whose only positions are relative ones, added to the scores of attention.

A table or a small network of the distance gives them, in every block or once for all. Prompts have no place in the
image, so that the bias of their scores is zero.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
)
from torch import Tensor, nn

from noah.backbone.families.family import Family
from noah.backbone.families.releases import resample_relative_positions
from noah.backbone.families.vision import (
    VisionNetwork,
    mlp_layers,
    mlp_view,
    scale_of,
    unsupported_mlp,
    unsupported_post_norm,
    unsupported_scales,
    unsupported_with,
)
from noah.backbone.view import PROJ, QKV, AttentionView, BlockView


class RelativeNetwork(VisionNetwork):
    """timm's `VisionTransformerRelPos`."""

    @property
    def norm_pre(self) -> nn.Module:
        """There is no norm of the first block's input."""
        return nn.Identity()

    def placed(self, patches: Tensor) -> Tensor:
        """Embedded patches behind the class token, if there is one; no positions are added."""
        token = self.backbone.cls_token
        return patches if token is None else torch.cat([token.expand(len(patches), -1, -1), patches], dim=1)

    def block(self, index: int) -> BlockView:
        """One block."""
        block = self.backbone.blocks[index]
        attention = block.attn
        post = isinstance(block, ResPostRelPosBlock)
        positions = attention.rel_pos if attention.rel_pos is not None else self.backbone.shared_rel_pos
        heads = attention.num_heads
        return BlockView(
            {QKV: attention.qkv, PROJ: attention.proj, **mlp_layers(block.mlp)},
            AttentionView(
                heads,
                heads,
                attention.scale,
                attention.q_norm,
                attention.k_norm,
                nn.Identity(),
                bias=None if positions is None else positions.get_bias(),
            ),
            mlp_view(block.mlp),
            norm1=nn.Identity() if post else block.norm1,
            norm2=nn.Identity() if post else block.norm2,
            scale1=None if post else scale_of(block.ls1),
            scale2=None if post else scale_of(block.ls2),
            behind1=block.norm1 if post else None,
            behind2=block.norm2 if post else None,
        )


def _unsupported_in_block(block: Any) -> list[str]:
    if type(block) not in (RelPosBlock, ResPostRelPosBlock) or type(block.attn) is not RelPosAttention:
        return [f"its type is {type(block).__name__}, not RelPosBlock or ResPostRelPosBlock"]
    reasons = unsupported_post_norm(block) if type(block) is ResPostRelPosBlock else []
    return reasons + unsupported_scales(block) + unsupported_mlp(block.mlp)


RELATIVE = Family(
    "relative positions",
    VisionTransformerRelPos,
    unsupported_with(_unsupported_in_block),
    RelativeNetwork,
    resample_relative_positions,
)
