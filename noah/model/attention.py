"""The pieces of attention that training (`noah.model.supernet`) and the merged network (`noah.model.merge`) share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from noah.backbone.view import AttentionView, Readers, Rotation
from noah.model.kinds.module import output_of


def split_heads(features: Tensor, heads: int) -> Tensor:
    """Reshape (B, N, heads x d) to (B, heads, N, d)."""
    batch, tokens, width = features.shape
    return features.reshape(batch, tokens, heads, width // heads).transpose(1, 2)


def queries_of(attention: AttentionView, projected: Tensor, rotation: Rotation | None) -> Tensor:
    """Split projected queries (B, M, heads x d) by head, norm them and turn them as the backbone does."""
    queries = output_of(attention.q_norm, split_heads(projected, attention.heads))
    return queries if rotation is None else rotation(queries)


def keys_and_values(
    attention: AttentionView, projected: Tensor, rotation: Rotation | None = None
) -> tuple[Tensor, Tensor]:
    """Split projected keys and values (B, N, 2 x heads x d) by head; norm and turn the keys as the backbone does.

    Args:
        attention: Gives heads and norms.
        projected: Keys, then values.
        rotation: Of these tokens; None for tokens without a place in the image, and without rotary positions.
    """
    keys, values = (split_heads(part, attention.key_heads) for part in projected.chunk(2, dim=-1))
    keys = output_of(attention.k_norm, keys)
    return (keys if rotation is None else rotation(keys)), values


def append_tokens(tokens: Tensor, extra: Tensor, dim: int) -> Tensor:
    """Append `extra` to `tokens` along `dim`; `extra` may have a single copy for the whole batch."""
    return torch.cat([tokens, extra.expand(tokens.shape[0], *[-1] * (extra.dim() - 1))], dim=dim)


def bias_among(bias: Tensor, queries: slice, tokens: int, keys: int) -> Tensor:
    """The bias of scores (1, heads, M, `keys`) of some of a block's tokens; that of prompts is zero.

    Args:
        bias: Of the image's tokens, (1, heads, N, N).
        queries: The tokens that have a query.
        tokens: The number of all tokens in the block.
        keys: The number of all keys, those of prompts included.
    """
    return F.pad(bias, (0, keys - bias.shape[-1], 0, tokens - bias.shape[-2]))[:, :, queries]


def attend(
    attention: AttentionView, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Scaled dot-product attention with the backbone's output norm.

    On a CPU in bfloat16 the two products are computed one by one, because torch's fused kernel is slower there: its
    backward pass takes 2 to 6.5 times as long (`benchmarks/attention.py`, docs/performance.md). Everywhere else the
    fused kernel is used.

    Args:
        attention: Gives heads, scale and norm.
        queries: (B, heads, M, d).
        keys: (B, key heads, N, d).
        values: (B, key heads, N, d).
        bias: Added to the scores, (1, heads, M, N), or of each key, (N); minus infinity hides a key.

    Returns:
        (B, M, heads x d), before the output projection.
    """
    if (served := attention.heads // attention.key_heads) > 1:
        keys, values = (part.repeat_interleave(served, dim=1) for part in (keys, values))
    if queries.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        scores = queries * attention.scale @ keys.transpose(-2, -1)
        mixed = (scores if bias is None else scores + bias.to(scores.dtype)).softmax(dim=-1) @ values
    else:
        mask = None if bias is None else bias.to(queries.dtype)
        mask = mask.expand(queries.shape[-2], -1) if mask is not None and mask.dim() == 1 else mask
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
        case Readers.PREFIX:
            return slice(0, prefix)
        case Readers.PATCHES:
            return slice(prefix, tokens - carried)
        case Readers.IMAGE:
            return slice(0, tokens - carried)
        case Readers.ALL:
            return slice(0, tokens if passed_on else tokens - carried)
