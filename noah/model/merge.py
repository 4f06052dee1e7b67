"""The exact merge of supernet and subnet into a plain network with the same logits and less work.

Every rewrite is an identity of linear algebra, exact up to float rounding:

- LoRA folds into the projection: W + B A.
- LayerScale folds into the layer before it: W2 <- gamma W2, b2 <- gamma b2. Then the adapter's output bias folds into
  the MLP's: b2 <- b2 + u, and v <- v - V u cancels its effect on the adapter's input.
- Keys and values of prompt tokens that nobody reads again are constants.
- Class-token pooling: the last block has one query per head, so the key matrix is absorbed into it,
  q . (W_k h_j + b_k) = (W_k^T q) . h_j + a constant that softmax ignores, and the value matrix is applied after the
  weighted sum. Keys and values are never formed. (This is impossible if keys are normed: that norm is not linear.)
- Average pooling: the last block computes queries for the patch tokens only.
- The prefix tokens with their positions are one constant; the normalization of pixels folds into the patch embedding.

Only the adapter's nonlinearity remains.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from noah.model.attention import pool
from noah.model.folding import fold_normalization, fold_scale, linear, with_layers
from noah.model.merged_attention import ClassAttention, MergedAttention
from noah.model.modules import Adapter, LoRA, Prompt, output_of, quick_gelu
from noah.model.supernet import Supernet
from noah.model.token_plan import BlockPlan, Readers, plan_tokens
from noah.space.subnet import Subnet


@torch.no_grad()
def merge(
    supernet: Supernet,
    subnet: Subnet,
    *,
    raw_pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> MergedViT:
    """Fold a subnet into a plain network.

    Frozen weights that do not change are shared with the backbone, not copied; trained ones are copied, so further
    training does not change the result.

    Args:
        supernet: Gives the weights.
        subnet: Says which of them are used.
        raw_pixels: Mean and standard deviation per channel (for pixels in 0..1) to fold into the patch embedding; the
            network then takes raw uint8 pixels (B, H, W, 3) instead of normalized images (B, 3, H, W).

    Raises:
        SettingsError: If the subnet does not fit inside the supernet.
    """
    supernet.check_fits(subnet)
    return MergedViT(supernet, subnet, raw_pixels).eval()


class MergedViT(nn.Module):
    """A supernet's subnet as a plain network from images to logits; `merge` builds it."""

    prefix_tokens: Tensor
    patch_positions: Tensor

    def __init__(
        self, supernet: Supernet, subnet: Subnet, raw_pixels: tuple[tuple[float, ...], tuple[float, ...]] | None
    ) -> None:
        super().__init__()
        backbone = supernet.backbone
        self.readers = supernet.last_readers
        self.takes_raw_pixels = raw_pixels is not None
        self.patches = (
            fold_normalization(backbone.patch_embed.proj, *raw_pixels) if raw_pixels else (backbone.patch_embed.proj)
        )
        self.patch_norm = backbone.patch_embed.norm
        # For all-zero patches, the position embedding returns just the constants that it adds.
        grid = backbone.patch_embed.grid_size
        shape = (
            (1, *grid, supernet.embed_dim) if backbone.dynamic_img_size else (1, grid[0] * grid[1], supernet.embed_dim)
        )
        constants = backbone._pos_embed(self.patches.weight.new_zeros(shape))
        prefix = backbone.num_prefix_tokens
        self.norm_pre = backbone.norm_pre
        self.register_buffer("prefix_tokens", backbone.norm_pre(constants[:, :prefix]))
        self.register_buffer("patch_positions", constants[:, prefix:])
        plans = plan_tokens(subnet.prompt, supernet.last_readers)
        self.blocks = nn.ModuleList(_merge_block(supernet, subnet, index, plan) for index, plan in enumerate(plans))
        self.norm = backbone.norm
        self.fc_norm = backbone.fc_norm
        self.head = linear(supernet.head.weight.clone(), supernet.head.bias.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (B, classes).

        Args:
            images: Normalized images (B, 3, H, W), or raw uint8 pixels (B, H, W, 3) if the normalization is folded in.
        """
        if self.takes_raw_pixels:
            images = images.permute(0, 3, 1, 2).to(self.patches.weight.dtype)
        x = self.patch_norm(self.patches(images).flatten(2).transpose(1, 2)) + self.patch_positions
        x = self.norm_pre(x)
        x = torch.cat([self.prefix_tokens.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return output_of(self.head, self.fc_norm(pool(self.readers, self.norm(x))))


class MergedBlock(nn.Module):
    """One block: attention in one of two forms, then MLP and adapter.

    Args:
        attention: Maps tokens (B, N, D) to the tokens that are read, with attention added.
        norm: The norm before the MLP.
        mlp: The MLP with LayerScale and the adapter's output bias folded in.
        adapter: What remains of the adapter, or None.
    """

    def __init__(self, attention: nn.Module, norm: nn.Module, mlp: nn.Module, adapter: nn.Module | None) -> None:
        super().__init__()
        self.attention = attention
        self.norm = norm
        self.mlp = mlp
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to the tokens that are read, (B, M, D)."""
        x = self.attention(x)
        m: Tensor = self.mlp(self.norm(x))
        if self.adapter is not None:
            m = m + self.adapter(m)
        return x + m


class MergedAdapter(nn.Module):
    """Computes U g(V m' + v'), where m' already includes the output bias."""

    def __init__(self, down: nn.Linear, up: nn.Linear) -> None:
        super().__init__()
        self.down = down
        self.up = up

    def forward(self, m: Tensor) -> Tensor:
        """Compute the addition to `m`, (B, N, D), of the same shape."""
        return output_of(self.up, quick_gelu(self.down(m)))


def _merge_block(supernet: Supernet, subnet: Subnet, index: int, plan: BlockPlan) -> MergedBlock:
    block = supernet.backbone.blocks[index]
    count, rank, width = subnet.block(index)
    qkv = block.attn.qkv
    if rank:
        qkv = linear(qkv.weight + cast(LoRA, supernet.loras[index]).weight(rank), qkv.bias)
    proj = fold_scale(block.attn.proj, block.ls1)
    new_tokens = cast(Prompt, supernet.prompts[index]).tokens[None, :count].clone() if count else None
    attention: nn.Module
    if plan.readers is Readers.CLASS and isinstance(block.attn.k_norm, nn.Identity):
        attention = ClassAttention(block, qkv, proj, new_tokens)
    else:
        attention = MergedAttention(block, plan, supernet.backbone.num_prefix_tokens, qkv, proj, new_tokens)

    fc2 = fold_scale(block.mlp.fc2, block.ls2)
    adapter = None
    if width:
        source = cast(Adapter, supernet.adapters[index])
        down, up_bias = source.down[:width], source.up_bias
        fc2 = linear(fc2.weight, up_bias if fc2.bias is None else fc2.bias + up_bias)
        adapter = MergedAdapter(
            linear(down.clone(), source.down_bias[:width] - down @ up_bias), linear(source.up[:, :width].clone(), None)
        )
    mlp: nn.Module = block.mlp if fc2 is block.mlp.fc2 else with_layers(block.mlp, fc2=fc2)
    return MergedBlock(attention, block.norm2, mlp, adapter)
