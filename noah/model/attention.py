"""The pieces of attention that training (`noah.model.supernet`) and the merged network (`noah.model.merge`) share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from noah.model.modules import output_of
from noah.model.token_plan import Readers


def split_heads(features: Tensor, heads: int) -> Tensor:
    """(B, N, heads x d) -> (B, heads, N, d)."""
    batch, tokens, width = features.shape
    return features.reshape(batch, tokens, heads, width // heads).transpose(1, 2)


def keys_and_values(attention: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Keys, normed where the backbone does so, and values by head from their projections (B, N, heads d)."""
    return attention.k_norm(split_heads(keys, attention.num_heads)), split_heads(values, attention.num_heads)


def append_tokens(tokens: Tensor, extra: Tensor, dim: int) -> Tensor:
    """Append `extra`, which may hold one copy for the whole batch, to `tokens` along `dim`."""
    return torch.cat([tokens, extra.expand(tokens.shape[0], *[-1] * (extra.dim() - 1))], dim=dim)


def attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor, key_bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention with the backbone's output norm.

    On a CPU that computes in bfloat16 the two products are written out, because there torch's fused kernel is slower:
    its backward pass takes 2 to 6.5 times as long (`benchmarks/attention.py`, docs/performance.md). Everywhere else the
    fused kernel is used.

    Args:
        attention: timm's `Attention`, for its scale and its norm.
        queries: (B, heads, M, d).
        keys: (B, heads, N, d).
        values: (B, heads, N, d).
        key_bias: Added to the scores of each key, (N): minus infinity for a key that nobody is to see.

    Returns:
        (B, M, heads x d), before the output projection.
    """
    if queries.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        scores = queries * attention.scale @ keys.transpose(-2, -1)
        mixed = (scores if key_bias is None else scores + key_bias.to(scores.dtype)).softmax(dim=-1) @ values
    else:
        mask = None if key_bias is None else key_bias.to(queries.dtype).expand(queries.shape[-2], -1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=attention.scale)
    return output_of(attention.norm, mixed.transpose(1, 2).flatten(2))


def read_tokens(readers: Readers, prefix: int, tokens: int, carried: int, passed_on: int) -> slice:
    """The positions of the tokens that give queries.

    Args:
        readers: Which tokens, prompts aside, are read.
        prefix: Number of class and register tokens, which come first.
        tokens: Number of all tokens in the block, prompts last.
        carried: How many of them are prompt tokens.
        passed_on: How many prompt tokens are read by the next block.
    """
    match readers:
        case Readers.CLASS:
            return slice(0, 1)
        case Readers.PATCHES:
            return slice(prefix, tokens - carried)
        case Readers.ALL:
            return slice(0, tokens if passed_on else tokens - carried)


def pool(readers: Readers, tokens: Tensor) -> Tensor:
    """The pooled feature (B, D) of the tokens (B, N, D) that the head reads."""
    return tokens[:, 0] if readers is Readers.CLASS else tokens.mean(dim=1)
