"""The pieces of attention that training (`noah.model.supernet`) and the merged network (`noah.model.merge`) share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from noah.model.kinds.module import output_of
from noah.model.token_plan import Readers


def split_heads(features: Tensor, heads: int) -> Tensor:
    """Reshape (B, N, heads x d) to (B, heads, N, d)."""
    batch, tokens, width = features.shape
    return features.reshape(batch, tokens, heads, width // heads).transpose(1, 2)


def keys_and_values(attention: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Split projected keys and values (B, N, heads x d) by head, and norm the keys if the backbone does."""
    return attention.k_norm(split_heads(keys, attention.num_heads)), split_heads(values, attention.num_heads)


def append_tokens(tokens: Tensor, extra: Tensor, dim: int) -> Tensor:
    """Append `extra` to `tokens` along `dim`; `extra` may have a single copy for the whole batch."""
    return torch.cat([tokens, extra.expand(tokens.shape[0], *[-1] * (extra.dim() - 1))], dim=dim)


def attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor, key_bias: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention with the backbone's output norm.

    On a CPU in bfloat16 the two products are computed one by one, because torch's fused kernel is slower there: its
    backward pass takes 2 to 6.5 times as long (`benchmarks/attention.py`, docs/performance.md). Everywhere else the
    fused kernel is used.

    Args:
        attention: timm's `Attention`, which gives scale and norm.
        queries: (B, heads, M, d).
        keys: (B, heads, N, d).
        values: (B, heads, N, d).
        key_bias: Added to the scores of each key, (N); minus infinity hides a key.

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
    """The positions of the tokens whose output is read, which are the only ones that need queries.

    Args:
        readers: Which tokens other than prompts are read.
        prefix: The number of class and register tokens, which come first.
        tokens: The number of all tokens in the block; prompts come last.
        carried: How many of these are prompt tokens.
        passed_on: How many prompt tokens the next block reads.
    """
    match readers:
        case Readers.CLASS:
            return slice(0, 1)
        case Readers.PATCHES:
            return slice(prefix, tokens - carried)
        case Readers.ALL:
            return slice(0, tokens if passed_on else tokens - carried)


def pool(readers: Readers, tokens: Tensor) -> Tensor:
    """Pool the tokens that the head reads, (B, N, D), into one feature per image, (B, D)."""
    return tokens[:, 0] if readers is Readers.CLASS else tokens.mean(dim=1)
