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

from noah.backbone.view import PROJ, QKV, BlockView
from noah.model.attention import append_tokens, attend, keys_and_values, read_tokens, split_heads
from noah.model.kinds.module import KindModule, Width, is_used, output_of
from noah.model.token_plan import BlockPlan

_ALL, _QUERIES, _KEYS_VALUES = slice(None), slice(0, 1), slice(1, 3)
"""Thirds of the stacked query, key and value projection."""


@dataclass(frozen=True, slots=True, eq=False)
class SupernetBlock:
    """The parts of one block, the same for every subnet.

    Attributes:
        view: The backbone's block, frozen.
        modules: Its modules by kind, prompts aside, in the order of `noah.space.kinds.KINDS`.
        prefix: Number of class and register tokens.
        training: Whether dropout and drop-path are applied.
    """

    view: BlockView
    modules: Mapping[str, KindModule]
    prefix: int
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

    def linear(self, name: str, h: Tensor, rows: slice = _ALL) -> Tensor:
        """Some rows of the layer's output for what it is given, with what stands beside and after it."""
        layer = self.layers[name]
        y = F.linear(h, layer.weight[rows], None if layer.bias is None else layer.bias[rows])
        for module, width in self.used:
            added = module.beside(name, h, width, rows)
            y = y if added is None else y + added
        for module, width in self.used:
            y = module.after(name, y, width, rows)
        return y

    def project(self, h: Tensor, thirds: slice) -> Tensor:
        """Some of queries, keys and values, side by side, of what the projection is given."""
        third = self.layers[QKV].out_features // 3
        start, stop, _ = thirds.indices(3)
        return self.linear(QKV, h, slice(start * third, stop * third))

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
    layers, view, attention, training = _Layers(block, use.widths), block.view, block.view.attention, block.training
    plan, new_tokens = use.plan, use.new_tokens

    # New prompts that the next block reads are tokens like all others; the rest are only keys and values.
    if new_tokens is not None and plan.passed_on:
        x, new_tokens = append_tokens(x, new_tokens, dim=1), None
    read = read_tokens(plan.readers, block.prefix, x.shape[1], plan.passed_on or plan.carried, plan.passed_on)
    all_read = len(range(*read.indices(x.shape[1]))) == x.shape[1]

    h = layers.before(QKV, _rounded_once(view.norm1(x)))
    if all_read:
        # In the backward pass of one `chunk` the three are put together; slices would be padded and added up.
        queries, keys, values = layers.project(h, _ALL).chunk(3, dim=-1)
    else:
        queries = layers.project(h[:, read], _QUERIES)
        keys, values = layers.project(h, _KEYS_VALUES).chunk(2, dim=-1)
    queries = attention.q_norm(split_heads(queries, attention.num_heads))
    keys, values = keys_and_values(attention, keys, values)
    if new_tokens is not None:
        of_prompts = layers.project(layers.before(QKV, view.norm1(new_tokens)), _KEYS_VALUES)
        prompt_keys, prompt_values = keys_and_values(attention, *of_prompts.chunk(2, dim=-1))
        keys, values = append_tokens(keys, prompt_keys, dim=2), append_tokens(values, prompt_values, dim=2)
        # Keys and values are copies now. If the queries were not, they would keep the whole projection in memory.
        queries = queries.contiguous() if torch.is_grad_enabled() else queries
    attended = view.scale1(layers.apply(PROJ, attend(attention, queries, keys, values, use.key_bias)))
    x = x[:, read] + _drop_path(attended, use.drop_path_rate, training)

    m = view.scale2(view.mlp(view.norm2(x), layers.apply))
    if (added := layers.behind("behind the MLP", m)) is not None:
        m = m + added
    x = x + _drop_path(m, use.drop_path_rate, training)
    if (added := layers.behind("behind the block", x)) is not None:
        x = x + _drop_path(added, use.drop_path_rate, training)
    return x


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
