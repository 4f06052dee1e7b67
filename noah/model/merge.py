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

from noah.backbone.view import FC2, PROJ, QKV, BlockView
from noah.model.attention import pool
from noah.model.folding import fold_normalization, fold_scale, linear, with_layers
from noah.model.kinds.module import Affine, Bottleneck, KindModule, output_of
from noah.model.kinds.prompt import Prompt
from noah.model.merged_attention import ClassAttention, MergedAttention
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
        return self.from_tokens(self.tokens(images, 0), 0)

    def tokens(self, images: Tensor, blocks: int) -> Tensor:
        """Compute the tokens (B, N, D) behind the first `blocks` blocks, from what `forward` takes."""
        if self.takes_raw_pixels:
            images = images.permute(0, 3, 1, 2).to(self.patches.weight.dtype)
        x = self.patch_norm(self.patches(images).flatten(2).transpose(1, 2)) + self.patch_positions
        x = self.norm_pre(x)
        x = torch.cat([self.prefix_tokens.expand(x.shape[0], -1, -1), x], dim=1)
        for block in list(self.blocks)[:blocks]:
            x = output_of(block, x)
        return x

    def from_tokens(self, x: Tensor, blocks: int) -> Tensor:
        """Compute logits (B, classes) from the tokens behind the first `blocks` blocks."""
        for block in list(self.blocks)[blocks:]:
            x = block(x)
        return output_of(self.head, self.fc_norm(pool(self.readers, self.norm(x))))


class MergedBlock(nn.Module):
    """One block: attention in one of two forms, then the MLP, and what adapters leave behind either.

    Args:
        attention: Maps tokens (B, N, D) to the tokens that are read, with attention added.
        norm: The norm before the MLP.
        mlp: The MLP with everything folded in that folds, output biases of adapters included.
        adapter: The rest of an adapter behind the MLP, or None.
        behind: The rest of an adapter behind the block, or None.
    """

    def __init__(
        self,
        attention: nn.Module,
        norm: nn.Module,
        mlp: nn.Module,
        adapter: nn.Module | None,
        behind: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.norm = norm
        self.mlp = mlp
        self.adapter = adapter
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to the tokens that are read, (B, M, D)."""
        x = self.attention(x)
        m: Tensor = self.mlp(self.norm(x))
        if self.adapter is not None:
            m = m + self.adapter(m)
        x = x + m
        return x if self.behind is None else x + self.behind(x)


class MergedAdapter(nn.Module):
    """x' -> U g(V x' + v'), where x' already holds the output bias."""

    def __init__(self, down: nn.Linear, up: nn.Linear, nonlinearity: nn.Module) -> None:
        super().__init__()
        self.down = down
        self.up = up
        self.nonlinearity = nonlinearity

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        return output_of(self.up, self.nonlinearity(self.down(x)))


def _merge_block(supernet: Supernet, subnet: Subnet, index: int, plan: BlockPlan) -> MergedBlock:
    view = BlockView(supernet.backbone.blocks[index])
    count = subnet.widths("prompt")[index]
    used = _used(supernet, subnet, index)
    layers = _folded(view, used)
    prompt = cast(Prompt, supernet.module("prompt", index))
    new_tokens = prompt.used(count)[None].clone() if count else None
    proj = fold_scale(layers[PROJ], view.scale1)
    attention: nn.Module
    if plan.readers is Readers.CLASS and isinstance(view.attention.k_norm, nn.Identity):
        attention = ClassAttention(view.block, layers[QKV], proj, new_tokens)
    else:
        attention = MergedAttention(
            view.block, plan, supernet.backbone.num_prefix_tokens, layers[QKV], proj, new_tokens
        )

    layers[FC2] = fold_scale(layers[FC2], view.scale2)
    behind_mlp = [module.bottleneck(width) for module, width in used if module.remains == "behind the MLP"]
    behind_block = [module.bottleneck(width) for module, width in used if module.remains == "behind the block"]
    for bottleneck in (*behind_mlp, *behind_block):
        fc2 = Affine(layers[FC2].weight, layers[FC2].bias).plus(bottleneck.up_bias)
        layers[FC2] = linear(fc2.weight, fc2.bias)
    changed = {name: layers[name] for name in (*view.mlp_inputs, FC2) if layers[name] is not view.layers[name]}
    return MergedBlock(
        attention,
        view.norm2,
        with_layers(view.block.mlp, **changed) if changed else view.block.mlp,
        _remainder(behind_mlp, [*behind_mlp, *behind_block]),
        _remainder(behind_block, behind_block),
    )


def folded_layers(supernet: Supernet, subnet: Subnet, index: int) -> dict[str, nn.Linear]:
    """The linear layers of a block by name, with whatever modules before, beside and after them folded in."""
    return _folded(BlockView(supernet.backbone.blocks[index]), _used(supernet, subnet, index))


def _folded(view: BlockView, used: list[tuple[KindModule, int]]) -> dict[str, nn.Linear]:
    return {name: _fold(name, layer, used) for name, layer in view.layers.items()}


def _used(supernet: Supernet, subnet: Subnet, index: int) -> list[tuple[KindModule, int]]:
    """The modules of a block that the subnet has, prompts aside, with their widths."""
    widths = subnet.block(index).items()
    return [(supernet.module(kind, index), width) for kind, width in widths if kind != "prompt"]


def _fold(name: str, layer: nn.Linear, used: list[tuple[KindModule, int]]) -> nn.Linear:
    """A linear layer with every module before, beside and after it folded in; itself where there is none."""
    original = folded = Affine(layer.weight, layer.bias)
    for module, width in used:
        folded = module.fold_beside(name, folded, width)
    for module, width in reversed(used):
        folded = module.fold_before(name, folded, width)
    for module, width in used:
        folded = module.fold_after(name, folded, width)
    return layer if folded is original else linear(folded.weight, folded.bias)


def _remainder(bottlenecks: list[Bottleneck], included: list[Bottleneck]) -> MergedAdapter | None:
    """What remains of adapters in one place, where no two kinds stand; None where there is none.

    Args:
        bottlenecks: Those of the place, one at most.
        included: Those whose output biases the tokens hold already, which V has to take off again.
    """
    if not bottlenecks:
        return None
    (bottleneck,) = bottlenecks
    shift = sum((other.up_bias for other in included[1:]), start=included[0].up_bias)
    down_bias = bottleneck.down_bias - bottleneck.down @ shift
    return MergedAdapter(
        linear(bottleneck.down.clone(), down_bias), linear(bottleneck.up.clone(), None), bottleneck.nonlinearity
    )
