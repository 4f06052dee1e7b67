"""timm's `Eva`: EVA, EVA-02, DINOv3, the Perception Encoder, RoPE-ViT, Sapiens2 and LingBot-Vision.

Positions may be rotary: queries and keys of patches are turned, by angles that may differ from block to block and from
head to head. Class token and registers are not turned. (EVA-02; Fang et al., 2023. RoPE-ViT; Heo et al., 2024.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from timm.layers import AttentionRope
from timm.layers.pos_embed_sincos import RotaryEmbeddingMixed
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm, checkpoint_filter_fn
from torch import Tensor, nn

from noah.backbone.families.family import Family
from noah.backbone.families.releases import gate_of
from noah.backbone.families.vision import (
    RESAMPLED,
    VisionNetwork,
    converted_by,
    joined_projection,
    mlp_layers,
    mlp_view,
    split_projection,
    unsupported_mlp,
    unsupported_post_norm,
    unsupported_with,
)
from noah.backbone.view import GATE, PROJ, QKV, AttentionView, BlockView, Readers, Rotation


class EvaNetwork(VisionNetwork):
    """timm's `Eva`."""

    def placed(self, patches: Tensor) -> Tensor:
        """Embedded patches with prefix tokens before them and absolute positions added, if there are any."""
        tokens: Tensor = self.backbone._pos_embed(patches)[0]
        return tokens

    @property
    def readers(self) -> Readers:
        """Which tokens are read behind the last block: attention pooling reads class token and registers, too."""
        return Readers.IMAGE if self.backbone.global_pool == "map" else super().readers

    def block(self, index: int) -> BlockView:
        """One block."""
        block = self.backbone.blocks[index]
        post = isinstance(block, EvaBlockPostNorm)
        attention = block.attn
        heads = attention.num_heads
        gate = gate_of(attention)
        return BlockView(
            {
                QKV: joined_projection(attention),
                **({} if gate is None else {GATE: gate}),
                PROJ: attention.proj,
                **mlp_layers(block.mlp),
            },
            AttentionView(
                heads,
                getattr(attention, "num_kv_heads", heads),
                attention.scale,
                attention.q_norm,
                attention.k_norm,
                attention.norm,
                self._rotation(index),
            ),
            mlp_view(block.mlp),
            norm1=nn.Identity() if post else block.norm1,
            norm2=nn.Identity() if post else block.norm2,
            scale1=None if post else block.gamma_1,
            scale2=None if post else block.gamma_2,
            behind1=block.norm1 if post else None,
            behind2=block.norm2 if post else None,
            keys_have_bias=not isinstance(attention, EvaAttention),
        )

    def _rotation(self, index: int) -> Rotation | None:
        """How patches are turned in a block."""
        rope = self.backbone.rope
        if rope is None:
            return None
        if isinstance(rope, RotaryEmbeddingMixed):  # alone, as the angles of all blocks at once are computed anew
            rope = copy.copy(rope)
            rope._parameters = {"freqs": rope.freqs[:, index : index + 1]}
        known = getattr(rope, "feat_shape", None) is not None and not self.backbone.dynamic_img_size
        table = rope.get_embed() if known else rope.get_embed(shape=self.backbone.patch_embed.grid_size)
        sin, cos = table.reshape(-1, *table.shape[-2:]).chunk(2, dim=-1)
        halves = bool(getattr(self.backbone.blocks[index].attn, "rotate_half", False))
        return Rotation(sin, cos, halves)

    def state_of_block(self, index: int, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
        """Linear layers of a block as the backbone's state holds them."""
        others = {name: layer for name, layer in layers.items() if name != QKV}
        view = self.block(index)
        return super().state_of_block(index, others) | split_projection(
            f"blocks.{index}.attn", self.backbone.blocks[index].attn, layers[QKV], view
        )


def _unsupported_in_block(block: Any) -> list[str]:
    if type(block) not in (EvaBlock, EvaBlockPostNorm):
        return [f"its type is {type(block).__name__}, not EvaBlock or EvaBlockPostNorm"]
    reasons = []
    if type(block.attn) not in (EvaAttention, AttentionRope):
        reasons.append(f"its attention is {type(block.attn).__name__}, not EvaAttention or AttentionRope")
    if type(block) is EvaBlockPostNorm:
        reasons += unsupported_post_norm(block)
    return reasons + unsupported_mlp(block.mlp)


EVA = Family(
    "EVA and DINOv3",
    Eva,
    unsupported_with(_unsupported_in_block),
    EvaNetwork,
    converted_by(checkpoint_filter_fn, **RESAMPLED),
)
