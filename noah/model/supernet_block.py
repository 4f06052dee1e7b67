"""One block of the supernet: a frozen transformer block with a LoRA, an adapter and prompt tokens beside it.

A width is given as a number, and the first so many rows of the module are used, or as a mask over all of its rows:
ones, then zeros. Both give the same. With masks the shapes are the same for every subnet, which is what a compiler
needs (`noah.model.compiled`); with numbers nothing is computed in vain.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import drop_path
from torch import Tensor, nn
from torch.nn import functional as F

from noah.model.attention import append_tokens, attend, keys_and_values, read_tokens, split_heads
from noah.model.modules import Width, is_used
from noah.model.token_plan import BlockPlan


def forward_block(
    block: Any,
    lora: nn.Module,
    adapter: nn.Module,
    x: Tensor,
    new_tokens: Tensor | None,
    plan: BlockPlan,
    rank: Width,
    width: Width,
    *,
    prefix: int,
    drop_path_rate: float | Tensor = 0.0,
    key_bias: Tensor | None = None,
) -> Tensor:
    """The tokens after the block that anybody reads; for the formulas see `noah.model.supernet.Supernet`.

    Args:
        block: timm's `Block`.
        lora: Its `LoRA`.
        adapter: Its `Adapter`.
        x: Tokens (B, N, D): class token and registers, patches, carried prompts.
        new_tokens: The prompts that it brings, (1 or B, p, D).
        plan: Which tokens are new, carried and read.
        rank: Of the LoRA.
        width: Of the adapter.
        prefix: Number of class and register tokens.
        drop_path_rate: Of both residual branches; applied in training, which the adapter tells.
        key_bias: Added to the attention's scores of each key, (N + p) or None.

    Returns:
        (B, M, D), M the number of tokens that are read.
    """
    if new_tokens is not None and plan.passed_on:
        x = append_tokens(x, new_tokens, dim=1)
    carried = plan.passed_on or plan.carried
    read = read_tokens(plan.readers, prefix, x.shape[1], carried, plan.passed_on)

    h = _rounded_once(block.norm1(x))
    queries, keys, values = _project(block.attn, lora, h, read, rank)
    if new_tokens is not None and not plan.passed_on:
        prompt_kv = _linear(block.attn, lora, block.norm1(new_tokens), rank, _KEYS_VALUES)
        prompt_keys, prompt_values = keys_and_values(block.attn, *prompt_kv.chunk(2, dim=-1))
        keys, values = append_tokens(keys, prompt_keys, dim=2), append_tokens(values, prompt_values, dim=2)
        # Keys and values are copies now. Were the queries not, the whole projection would stay for the backward pass.
        queries = queries.contiguous() if torch.is_grad_enabled() else queries
    attended = block.attn.proj(attend(block.attn, queries, keys, values, key_bias))

    x = x[:, read] + _drop_path(block.ls1(attended), drop_path_rate, adapter.training)
    m = block.ls2(block.mlp(block.norm2(x)))
    if is_used(width):
        m = m + adapter(m, width)
    result: Tensor = x + _drop_path(m, drop_path_rate, adapter.training)
    return result


def _rounded_once(features: Tensor) -> Tensor:
    """As autocast would round them for each of their readers: the projection, and the LoRA after its dropout."""
    device = features.device.type
    return features.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else features


def _project(attention: Any, lora: nn.Module, h: Tensor, read: slice, rank: Width) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of the tokens that are read, keys and values of all."""
    if len(range(*read.indices(h.shape[1]))) == h.shape[1]:
        # In the backward pass of one `chunk` the three are put together; slices would be padded and added up.
        queries, keys, values = _linear(attention, lora, h, rank, slice(None)).chunk(3, dim=-1)
    else:
        queries = _linear(attention, lora, h[:, read], rank, _QUERIES)
        keys, values = _linear(attention, lora, h, rank, _KEYS_VALUES).chunk(2, dim=-1)
    queries = attention.q_norm(split_heads(queries, attention.num_heads))
    return (queries, *keys_and_values(attention, keys, values))


def _linear(attention: Any, lora: nn.Module, h: Tensor, rank: Width, part: slice) -> Tensor:
    qkv = attention.qkv
    rows = _rows(part, qkv.out_features)
    projected = F.linear(h, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])
    return projected + lora(h, rank, rows) if is_used(rank) else projected


_QUERIES = slice(0, 1)
_KEYS_VALUES = slice(1, 3)


def _rows(thirds: slice, features: int) -> slice:
    """The rows of the stacked query, key and value projection that `thirds` names."""
    third = features // 3
    start, stop, _ = thirds.indices(3)
    return slice(start * third, stop * third)


def _drop_path(branch: Tensor, rate: float | Tensor, training: bool) -> Tensor:
    """Stochastic depth as timm has it; a rate in a tensor is not compiled into the code."""
    if isinstance(rate, float):
        dropped: Tensor = drop_path(branch, rate, training)
        return dropped
    kept = (torch.rand(len(branch), 1, 1, device=branch.device) >= rate).to(branch.dtype)
    return branch * kept / (1 - rate).to(branch.dtype) if training else branch
