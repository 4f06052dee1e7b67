"""The exact merge of supernet and subnet into a plain network with the same logits and less work.

Every rewrite is an identity of linear algebra, exact up to float rounding:

- LoRA folds into the projection: W + B A, be queries, keys and values kept in one matrix or in three.
- LayerScale folds into the layer before it: W2 <- gamma W2, b2 <- gamma b2. Then the adapter's output bias folds into
  the MLP's: b2 <- b2 + u, and v <- v - V u cancels its effect on the adapter's input. In a block that norms behind the
  MLP, u folds into the bias of that norm.
- Keys and values of prompt tokens that nobody reads again are constants. Prompts have no place in the image: rotary
  positions pass over them, and relative positions bias none of their scores.
- Class-token pooling: the last block has one query per head, so the key matrix is absorbed into it,
  q . (W_k h_j + b_k) = (W_k^T q) . h_j + a constant that softmax ignores, and the value matrix is applied after the
  weighted sum. Keys and values are never formed. Where keys are normed or turned, which depends on the token, they are
  formed, and values still are not.
- Average pooling: the last block computes queries for the patch tokens only.
- Attention pooling: its query is a constant, which absorbs the key matrix; the value matrix is applied to one sum.
- Rotary positions of neighboring features turn slices, once queries and keys are reordered alike.
- The prefix tokens with their positions are one constant, and so are the tables of rotary and relative positions; the
  normalization of pixels folds into the patch embedding where that neither pads nor changes its weights.

Only the adapter's nonlinearity remains.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from noah.backbone.layers import linear
from noah.backbone.view import FC2, PROJ, QKV, BlockView, MlpView, Readers, Rotation, bent
from noah.model.folding import fold_scale
from noah.model.kinds.module import Affine, Bottleneck, KindModule, output_of
from noah.model.kinds.prompt import Prompt
from noah.model.merged_attention import ClassAttention, MergedAttention
from noah.model.merged_pooling import MergedPooling
from noah.model.supernet import Supernet
from noah.model.token_plan import BlockPlan, plan_tokens
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
        view = supernet.view
        self.takes_raw_pixels = raw_pixels is not None
        self.patches = view.stem_of_pixels(*raw_pixels) if raw_pixels else view.stem
        self.patch_norm = view.patch_norm
        constants = view.positions()
        self.norm_pre = view.norm_pre
        self.register_buffer("prefix_tokens", self.norm_pre(constants[:, : view.prefix]))
        self.register_buffer("patch_positions", constants[:, view.prefix :])
        plans = plan_tokens(subnet.prompt, view.readers)
        self.blocks = nn.ModuleList(_merge_block(supernet, subnet, index, plan) for index, plan in enumerate(plans))
        self.norm = view.norm
        parts = view.pooling.parts
        self.pooling = view.pooling if parts is None else MergedPooling(parts)
        self.fc_norm = view.fc_norm
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
            images = images.permute(0, 3, 1, 2).to(self.head.weight.dtype)
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
        return output_of(self.head, self.fc_norm(self.pooling(self.norm(x))))


class MergedBlock(nn.Module):
    """One block: attention in one of two forms, then the MLP, and what adapters leave behind either.

    Args:
        attention: Maps tokens (B, N, D) to the tokens that are read, and to what it adds to them.
        norm: The norm before the MLP.
        mlp: The MLP with everything folded in that folds, output biases of adapters included.
        adapter: The rest of an adapter behind the MLP, or None.
        behind: The rest of an adapter behind the block, or None.
        parallel: Whether the MLP reads the tokens as they were before attention.
    """

    def __init__(
        self,
        attention: nn.Module,
        norm: nn.Module,
        mlp: nn.Module,
        adapter: nn.Module | None,
        behind: nn.Module | None = None,
        *,
        parallel: bool = False,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.norm = norm
        self.mlp = mlp
        self.adapter = adapter
        self.behind = behind
        self.parallel = parallel

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to the tokens that are read, (B, M, D)."""
        x, attended = self.attention(x)
        before, x = x, x + attended
        m: Tensor = self.mlp(self.norm(before if self.parallel else x))
        if self.adapter is not None:
            m = m + self.adapter(m)
        x = x + m
        return x if self.behind is None else x + self.behind(x)


class MergedMlp(nn.Module):
    """An MLP with everything folded in that folds.

    Args:
        form: How it bends.
        layers: Its linear layers by name.
        behind: A norm of its output, or None.
    """

    def __init__(self, form: MlpView, layers: Mapping[str, nn.Linear], behind: nn.Module | None) -> None:
        super().__init__()
        self.inputs, self.gated = form.inputs, form.gated
        for name in form.inputs:
            self.add_module(name, layers[name])
        self.bend, self.norm = form.bend, form.norm
        self.fc2 = layers[FC2]
        self.behind = behind

    def forward(self, x: Tensor) -> Tensor:
        """Map normed tokens (B, N, D) to what the MLP adds."""
        hidden = [output_of(self.get_submodule(name), x) for name in self.inputs]
        m = output_of(self.fc2, self.norm(bent(hidden, self.bend, self.gated)))
        return m if self.behind is None else output_of(self.behind, m)


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
    view = supernet.view.block(index)
    used = _used(supernet, subnet, index)
    layers = _folded(view, used)
    layers[PROJ] = fold_scale(layers[PROJ], view.scale1)
    layers[FC2] = fold_scale(layers[FC2], view.scale2)
    behind_mlp = [module.bottleneck(width) for module, width in used if module.remains == "behind the MLP"]
    behind_block = [module.bottleneck(width) for module, width in used if module.remains == "behind the block"]
    behind2 = view.behind2
    for bottleneck in (*behind_mlp, *behind_block):
        if behind2 is None:
            fc2 = Affine(layers[FC2].weight, layers[FC2].bias).plus(bottleneck.up_bias)
            layers[FC2] = linear(fc2.weight, fc2.bias)
        else:
            behind2 = _shifted(behind2, bottleneck.up_bias)
    return MergedBlock(
        _merge_attention(supernet, subnet, index, plan, view, layers),
        view.norm2,
        MergedMlp(view.mlp, layers, behind2),
        _remainder(behind_mlp, [*behind_mlp, *behind_block]),
        _remainder(behind_block, behind_block),
        parallel=view.parallel,
    )


def _merge_attention(
    supernet: Supernet, subnet: Subnet, index: int, plan: BlockPlan, view: BlockView, layers: dict[str, nn.Linear]
) -> nn.Module:
    network, count = supernet.view, subnet.widths("prompt")[index]
    prompt = cast(Prompt, supernet.module("prompt", index))
    new_tokens = prompt.used(count)[None].clone() if count else None
    view, layers = _turned_in_halves(view, layers)
    if plan.readers is Readers.CLASS:
        return ClassAttention(view, network.prefix, network.image_tokens + plan.carried, layers, new_tokens)
    return MergedAttention(view, plan, network.prefix, network.image_tokens, layers, new_tokens)


def _turned_in_halves(view: BlockView, layers: dict[str, nn.Linear]) -> tuple[BlockView, dict[str, nn.Linear]]:
    """Where neighboring features are turned as pairs, put the first of each pair before the second ones.

    Queries and keys are reordered alike, so that their products stay, and a turn is two slices instead of a shuffle. A
    norm of heads may have a weight for each feature; there all stays as it is.
    """
    attention, rows, qkv = view.attention, view.key_rows, layers[QKV]
    rotation, normed = attention.rotation, not isinstance(attention.k_norm, nn.Identity)
    if rotation is None or rotation.halves or normed:
        return view, layers
    size = rotation.sin.shape[-1]
    order = torch.arange(size).view(-1, 2).t().flatten()
    places = torch.arange(qkv.out_features)
    places[: rows.stop] = places[: rows.stop].view(-1, size)[:, order].flatten()
    reordered = linear(qkv.weight[places], None if qkv.bias is None else qkv.bias[places])
    halves = Rotation(rotation.sin[..., order], rotation.cos[..., order], halves=True)
    return replace(view, attention=replace(attention, rotation=halves)), {**layers, QKV: reordered}


def _shifted(norm: nn.Module, shift: Tensor) -> nn.Module:
    """A norm with something added to its bias."""
    changed = copy.copy(norm)
    bias = getattr(norm, "bias", None)
    changed._parameters = {**norm._parameters, "bias": nn.Parameter(shift if bias is None else bias + shift)}
    return changed.requires_grad_(False)


def folded_layers(supernet: Supernet, subnet: Subnet, index: int) -> dict[str, nn.Linear]:
    """The linear layers of a block by name, with whatever modules before, beside and after them folded in."""
    return _folded(supernet.view.block(index), _used(supernet, subnet, index))


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
