"""timm's `Beit`: BEiT and BEiT v2, whose attention adds a learned bias to each score by the tokens' relative position.

Prompts have no place in the image, so that the bias of their scores is zero. (BEiT; Bao et al., 2021.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.models.beit import Attention, Beit, Block, checkpoint_filter_fn
from torch import Tensor, nn

from noah.backbone.families.family import Family
from noah.backbone.families.vision import (
    RESAMPLED,
    VisionNetwork,
    converted_by,
    joined_projection,
    mlp_layers,
    mlp_view,
    split_projection,
    unsupported_mlp,
    unsupported_with,
)
from noah.backbone.view import PROJ, QKV, AttentionView, BlockView


class BeitNetwork(VisionNetwork):
    """timm's `Beit`."""

    @property
    def norm_pre(self) -> nn.Module:
        """There is no norm of the first block's input."""
        return nn.Identity()

    def placed(self, patches: Tensor) -> Tensor:
        """Embedded patches behind the class token, with absolute positions added, if there are any."""
        tokens = torch.cat([self.backbone.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return tokens if self.backbone.pos_embed is None else tokens + self.backbone.pos_embed

    def block(self, index: int) -> BlockView:
        """One block."""
        block = self.backbone.blocks[index]
        attention = block.attn
        none = nn.Identity()
        return BlockView(
            {QKV: joined_projection(attention), PROJ: attention.proj, **mlp_layers(block.mlp)},
            AttentionView(
                attention.num_heads,
                attention.num_heads,
                attention.scale,
                none,
                none,
                none,
                bias=self._bias(attention),
            ),
            mlp_view(block.mlp),
            norm1=block.norm1,
            norm2=block.norm2,
            scale1=block.gamma_1,
            scale2=block.gamma_2,
            keys_have_bias=False,
        )

    def _bias(self, attention: Any) -> Tensor | None:
        """The bias of a block's scores, (1, heads, N, N): its own, and what all blocks share."""
        own, shared = attention.relative_position_bias_table, self.backbone.rel_pos_bias
        biases: list[Tensor] = [] if own is None else [attention._get_rel_pos_bias()]
        biases += [] if shared is None else [shared()[None]]
        return sum(biases[1:], start=biases[0]) if biases else None

    def state_of_block(self, index: int, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
        """Linear layers of a block as the backbone's state holds them."""
        others = {name: layer for name, layer in layers.items() if name != QKV}
        return super().state_of_block(index, others) | split_projection(
            f"blocks.{index}.attn", self.backbone.blocks[index].attn, layers[QKV], self.block(index)
        )


def _unsupported_in_block(block: Any) -> list[str]:
    if type(block) is not Block or type(block.attn) is not Attention:
        return [f"its type is {type(block).__name__}, not Block of timm's BEiT"]
    return unsupported_mlp(block.mlp)


BEIT = Family(
    "BEiT", Beit, unsupported_with(_unsupported_in_block), BeitNetwork, converted_by(checkpoint_filter_fn, **RESAMPLED)
)
