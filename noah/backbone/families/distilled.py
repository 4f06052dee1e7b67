"""timm's `VisionTransformerDistilled`: DeiT with a distillation token, which has a head of its own.

The mean of the two heads' logits is one linear head on the features of both tokens, side by side. (DeiT; Touvron et
al., 2020.)
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from noah.backbone.families import plain
from noah.backbone.families.family import Family
from noah.backbone.families.vision import state_of_layer
from noah.backbone.layers import linear
from noah.backbone.view import PoolingView, Readers


class DistilledNetwork(plain.PlainNetwork):
    """timm's `VisionTransformerDistilled`."""

    @property
    def readers(self) -> Readers:
        """The class token and the distillation token are read."""
        return Readers.PREFIX

    @property
    def pooling(self) -> PoolingView:
        """Their features stand side by side."""
        return PoolingView("side by side")

    @property
    def fc_norm(self) -> nn.Module:
        """There is no norm of what is pooled."""
        return nn.Identity()

    def own_head(self) -> nn.Linear | None:
        """The mean of the two heads, as one; None if it has none."""
        heads = self.backbone.head, self.backbone.head_dist
        if not all(isinstance(head, nn.Linear) for head in heads):
            return None
        weight = torch.cat([head.weight for head in heads], dim=1) / 2
        return linear(weight.detach(), (heads[0].bias.detach() + heads[1].bias.detach()) / 2)

    def state_of_head(self, head: nn.Linear) -> dict[str, Tensor]:
        """One head on both features as the two whose mean it is."""
        of_class, of_distillation = (
            linear(weight.detach(), head.bias.detach()) for weight in (head.weight * 2).chunk(2, dim=1)
        )
        return state_of_layer("head", of_class) | state_of_layer("head_dist", of_distillation)


def unsupported(backbone: Any) -> list[str]:
    """The reasons why a `VisionTransformerDistilled` is not covered."""
    normed = [] if isinstance(backbone.fc_norm, nn.Identity) else ["it has a norm behind pooling, which timm skips"]
    return plain.unsupported(backbone) + normed


DISTILLED = Family(
    "distilled",
    VisionTransformerDistilled,
    unsupported,
    DistilledNetwork,
    plain.converted,
)
