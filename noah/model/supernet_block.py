"""One block of the supernet: a frozen transformer block with modules of any kind beside it.

A width is either a number, so that only that many rows of the module are used, or a mask of ones and then zeros over
all of its rows. Both give the same result. With masks the shapes are the same for every subnet, which a compiler needs
(`noah.model.compiled`); with numbers nothing is computed in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from timm.layers import drop_path
from torch import Tensor
from torch.nn import functional as F

from noah.backbone.view import GATE, PROJ, QKV, BlockView
from noah.model.attention import append_tokens, attend, bias_among, keys_and_values, queries_of, read_tokens
from noah.model.kinds.module import KindModule, Width, is_used, output_of
from noah.model.token_plan import BlockPlan


@dataclass(frozen=True, slots=True, eq=False)
class SupernetBlock:
    """The parts of one block, the same for every subnet.

    Attributes:
        view: The backbone's block, frozen.
        modules: Its modules by kind, prompts aside, in the order of `noah.space.kinds.KINDS`.
        prefix: Number of class and register tokens.
        image_tokens: Number of these and of patch tokens.
        training: Whether dropout and drop-path are applied.
    """

    view: BlockView
    modules: Mapping[str, KindModule]
    prefix: int
    image_tokens: int
    training: bool


@dataclass(frozen=True, slots=True, eq=False)
class BlockUse:
    """How a subnet uses a block in one forward pass.

    Attributes:
        plan: Which tokens are new, carried and read.
        new_tokens: The prompts that the block brings, (1 or B, p, D).
        widths: Of its modules by kind, prompts aside.
        drop_path_rate: Of the residual branches, in training.
        key_bias: Added to the attention's scores of each key, (N + p) or None.
    """

    plan: BlockPlan
    new_tokens: Tensor | None
    widths: Mapping[str, Width]
    drop_path_rate: float | Tensor = 0.0
    key_bias: Tensor | None = None


class _Layers:
    """The linear layers of a block with whatever modules stand before, beside and after them."""

    def __init__(self, block: SupernetBlock, widths: Mapping[str, Width]) -> None:
        self.layers = block.view.layers
        self.used = [(module, widths[name]) for name, module in block.modules.items() if is_used(widths.get(name, 0))]

    def before(self, name: str, h: Tensor) -> Tensor:
        """What the layer is given in place of `h`."""
        for module, width in self.used:
            h = module.before(name, h, width)
        return h

    def linear(self, name: str, h: Tensor, rows: slice | None = None) -> Tensor:
        """Some rows of the layer's output, or all, for what it is given, with what stands beside and after it."""
        layer = self.layers[name]
        rows = slice(None) if rows is None else rows  # torch 2.8 cannot trace a slice that is a default
        y = F.linear(h, layer.weight[rows], None if layer.bias is None else layer.bias[rows])
        for module, width in self.used:
            added = module.beside(name, h, width, rows)
            y = y if added is None else y + added
        for module, width in self.used:
            y = module.after(name, y, width, rows)
        return y

    def apply(self, name: str, h: Tensor) -> Tensor:
        """The whole layer, its input changed, too."""
        return self.linear(name, self.before(name, h))

    def behind(self, place: str, x: Tensor) -> Tensor | None:
        """What modules add behind the MLP or behind the block; None where none does."""
        added = [module.behind(x, width) for module, width in self.used if module.remains == place]
        return sum(added[1:], start=added[0]) if added else None


def forward_block(block: SupernetBlock, x: Tensor, use: BlockUse) -> Tensor:
    """Compute the tokens that are read after the block; for the formulas see `noah.model.supernet.Supernet`.

    Args:
        block: The parts of the block.
        x: Tokens (B, N, D): class token and registers, patches, carried prompts.
        use: How the subnet uses the block.

    Returns:
        (B, M, D), where M is the number of tokens that are read.
    """
    layers, view, plan = _Layers(block, use.widths), block.view, use.plan
    new_tokens = use.new_tokens
    # New prompts that the next block reads are tokens like all others; the rest are only keys and values.
    if new_tokens is not None and plan.passed_on:
        x, new_tokens = append_tokens(x, new_tokens, dim=1), None
    read = read_tokens(plan.readers, block.prefix, x.shape[1], plan.passed_on or plan.carried, plan.passed_on)

    attended = _attend(block, layers, x, new_tokens, read, use.key_bias)
    before, x = x[:, read], x[:, read]
    if not view.parallel:
        x = x + _drop_path(attended, use.drop_path_rate, block.training)

    m = _scaled(view.mlp_of(output_of(view.norm2, before if view.parallel else x), layers.apply), view.scale2)
    m = m if view.behind2 is None else output_of(view.behind2, m)
    if (added := layers.behind("behind the MLP", m)) is not None:
        m = m + added
    x = x + _drop_path(attended + m if view.parallel else m, use.drop_path_rate, block.training)
    if (added := layers.behind("behind the block", x)) is not None:
        x = x + _drop_path(added, use.drop_path_rate, block.training)
    return x


def _attend(
    block: SupernetBlock,
    layers: _Layers,
    x: Tensor,
    new_tokens: Tensor | None,
    read: slice,
    key_bias: Tensor | None,
) -> Tensor:
    """What attention adds to the tokens that are read, (B, M, D).

    Args:
        block: The parts of the block.
        layers: Its linear layers with the modules in use.
        x: All tokens (B, N, D).
        new_tokens: Prompts that are keys and values alone, (1 or B, p, D).
        read: Which tokens are read.
        key_bias: Added to the scores of each key, (N + p) or None.
    """
    view, attention, tokens = block.view, block.view.attention, x.shape[1]
    rotation = attention.rotation and attention.rotation.among(block.prefix, tokens - block.image_tokens)
    of_queries = rotation and rotation.of(read)
    normed = _rounded_once(output_of(view.norm1, x))
    h = layers.before(QKV, normed)
    rows = view.key_rows
    if read.stop - read.start == tokens:
        # In the backward pass of one `split` the three are put together; slices would be padded and added up.
        queries, projected = torch.split(layers.linear(QKV, h), [rows.start, 2 * len(rows)], dim=-1)
    else:
        queries = layers.linear(QKV, h[:, read], slice(0, rows.start))
        projected = layers.linear(QKV, h, slice(rows.start, None))
    queries = queries_of(attention, queries, of_queries)
    keys, values = keys_and_values(attention, projected, rotation)
    if new_tokens is not None:
        of_prompts = layers.linear(QKV, layers.before(QKV, output_of(view.norm1, new_tokens)), slice(rows.start, None))
        prompt_keys, prompt_values = keys_and_values(attention, of_prompts)
        keys, values = append_tokens(keys, prompt_keys, dim=2), append_tokens(values, prompt_values, dim=2)
        # Keys and values are copies now. If the queries were not, they would keep the whole projection in memory.
        queries = queries.contiguous() if torch.is_grad_enabled() else queries
    bias = key_bias
    if attention.bias is not None:
        bias = bias_among(attention.bias, read, tokens, keys.shape[2])
        bias = bias if key_bias is None else bias + key_bias
    mixed = attend(attention, queries, keys, values, bias)
    if GATE in layers.layers:
        mixed = mixed * layers.apply(GATE, normed[:, read]).sigmoid()
    attended = _scaled(layers.apply(PROJ, mixed), view.scale1)
    return attended if view.behind1 is None else output_of(view.behind1, attended)


def _scaled(branch: Tensor, gamma: Tensor | None) -> Tensor:
    """What a branch adds, times its LayerScale."""
    return branch if gamma is None else branch * gamma


def _rounded_once(features: Tensor) -> Tensor:
    """Round once, as autocast would do for each reader: the projection, and the LoRA after its dropout."""
    device = features.device.type
    return features.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else features


def _drop_path(branch: Tensor, rate: float | Tensor, training: bool) -> Tensor:
    """Apply stochastic depth as timm does; a rate given as a tensor is not compiled into the code as a constant."""
    if isinstance(rate, float):
        return output_of(drop_path, branch, rate, training)
    kept = (torch.rand(len(branch), 1, 1, device=branch.device) >= rate).to(branch.dtype)
    return branch * kept / (1 - rate).to(branch.dtype) if training else branch
