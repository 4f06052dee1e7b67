"""One block of the supernet: a frozen transformer block with LoRA, adapter and prompt tokens.

A width is either a number, so that only that many rows of the module are used, or a mask of ones and then zeros over
all of its rows. Both give the same result. With masks the shapes are the same for every subnet, which a compiler needs
(`noah.model.compiled`); with numbers nothing is computed in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import drop_path
from torch import Tensor
from torch.nn import functional as F

from noah.model.attention import append_tokens, attend, keys_and_values, read_tokens, split_heads
from noah.model.modules import Adapter, LoRA, Width, is_used, output_of
from noah.model.token_plan import BlockPlan

_ALL, _QUERIES, _KEYS_VALUES = slice(None), slice(0, 1), slice(1, 3)
"""Thirds of the stacked query, key and value projection."""


@dataclass(frozen=True, slots=True, eq=False)
class SupernetBlock:
    """The parts of one block, the same for every subnet.

    Attributes:
        layers: timm's `Block`, frozen.
        lora: The LoRA on the query, key and value projection.
        adapter: The adapter after the MLP.
        prefix: The number of class and register tokens.
    """

    layers: Any
    lora: LoRA
    adapter: Adapter
    prefix: int

    def project(self, h: Tensor, rank: Width, thirds: slice) -> Tensor:
        """Project normalized tokens (..., N, D) to some thirds of queries, keys and values, with LoRA's addition."""
        qkv = self.layers.attn.qkv
        start, stop, _ = thirds.indices(3)
        rows = slice(start * (qkv.out_features // 3), stop * (qkv.out_features // 3))
        projected = F.linear(h, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])
        return projected + self.lora(h, rank, rows) if is_used(rank) else projected


@dataclass(frozen=True, slots=True, eq=False)
class BlockUse:
    """How a subnet uses a block in one forward pass.

    Attributes:
        plan: Which prompt tokens are new, carried or passed on, and which other tokens are read.
        new_tokens: The prompt tokens that the block adds, (1 or B, p, D), or None.
        rank: The rank of the LoRA, as a number or a mask.
        width: The width of the adapter, as a number or a mask.
        drop_path_rate: The rate for both residual branches; it applies if the adapter is in training mode.
        key_bias: Added to the attention scores of each key, (N + p), or None.
    """

    plan: BlockPlan
    new_tokens: Tensor | None
    rank: Width
    width: Width
    drop_path_rate: float | Tensor = 0.0
    key_bias: Tensor | None = None


def forward_block(block: SupernetBlock, x: Tensor, use: BlockUse) -> Tensor:
    """Compute the tokens that are read after the block; for the formulas see `noah.model.supernet.Supernet`.

    Args:
        block: The parts of the block.
        x: Tokens (B, N, D): class token and registers, patches, carried prompts.
        use: How the subnet uses the block.

    Returns:
        (B, M, D), where M is the number of tokens that are read.
    """
    layers, attention, training = block.layers, block.layers.attn, block.adapter.training
    plan, new_tokens = use.plan, use.new_tokens

    # New prompts that the next block reads are tokens like all others; the rest are only keys and values.
    if new_tokens is not None and plan.passed_on:
        x, new_tokens = append_tokens(x, new_tokens, dim=1), None
    read = read_tokens(plan.readers, block.prefix, x.shape[1], plan.passed_on or plan.carried, plan.passed_on)
    all_read = len(range(*read.indices(x.shape[1]))) == x.shape[1]

    h = _rounded_once(layers.norm1(x))
    if all_read:
        # The backward pass of one `chunk` joins the three gradients; slices would be padded and added up.
        queries, keys, values = block.project(h, use.rank, _ALL).chunk(3, dim=-1)
    else:
        queries = block.project(h[:, read], use.rank, _QUERIES)
        keys, values = block.project(h, use.rank, _KEYS_VALUES).chunk(2, dim=-1)
    queries = attention.q_norm(split_heads(queries, attention.num_heads))
    keys, values = keys_and_values(attention, keys, values)
    if new_tokens is not None:
        of_prompts = block.project(layers.norm1(new_tokens), use.rank, _KEYS_VALUES)
        prompt_keys, prompt_values = keys_and_values(attention, *of_prompts.chunk(2, dim=-1))
        keys, values = append_tokens(keys, prompt_keys, dim=2), append_tokens(values, prompt_values, dim=2)
        # Keys and values are copies now. If the queries were not, they would keep the whole projection in memory.
        queries = queries.contiguous() if torch.is_grad_enabled() else queries
    attended = layers.ls1(attention.proj(attend(attention, queries, keys, values, use.key_bias)))
    x = x[:, read] + _drop_path(attended, use.drop_path_rate, training)

    m = layers.ls2(layers.mlp(layers.norm2(x)))
    if is_used(use.width):
        m = m + block.adapter(m, use.width)
    return x + _drop_path(m, use.drop_path_rate, training)


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
