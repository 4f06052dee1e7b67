"""Attention pooling of a merged network: one query that is the same for every image, so that it is a constant."""

from __future__ import annotations

from torch import Tensor, nn

from noah.backbone.view import PoolingParts
from noah.model.attention import split_heads
from noah.model.kinds.module import output_of


class MergedPooling(nn.Module):
    """Pooling by one query per head, without forming values, nor keys where these are linear.

    The key matrix is absorbed into the query, W_k^T q, which is one vector a head for all images; what the keys' bias
    adds to all scores alike is ignored by softmax. The value matrix is applied after the weighted sum.

    Args:
        parts: Of the backbone's pooling.
    """

    absorbed: Tensor | None
    query: Tensor | None
    value_weight: Tensor
    value_bias: Tensor | None

    def __init__(self, parts: PoolingParts) -> None:
        super().__init__()
        attention, heads = parts.attention, parts.attention.heads
        query = output_of(attention.q_norm, parts.query) * attention.scale  # (heads, d)
        absorbed, self.k = None, None
        if attention.keys_are_linear:
            by_head = parts.keys.weight.reshape(heads, -1, parts.keys.in_features)
            absorbed = (query.unsqueeze(1) @ by_head).squeeze(1)  # (heads, D)
        else:
            self.k = parts.keys
        self.heads = heads
        self.k_norm = attention.k_norm
        self.register_buffer("absorbed", absorbed)
        self.register_buffer("query", None if absorbed is not None else query)
        values = parts.values.weight.reshape(heads, -1, parts.values.in_features).transpose(1, 2).contiguous()
        self.register_buffer("value_weight", values)
        self.register_buffer("value_bias", parts.values.bias)
        self.proj, self.norm, self.mlp = parts.proj, parts.norm, parts.mlp

    def forward(self, x: Tensor) -> Tensor:
        """Pool the tokens that are read, (B, N, D), into the features of each image, (B, D)."""
        if self.absorbed is not None:
            scores = self.absorbed @ x.transpose(1, 2)  # (B, heads, N)
        else:
            assert self.k is not None and self.query is not None
            keys = output_of(self.k_norm, split_heads(self.k(x), self.heads))
            scores = (keys @ self.query.unsqueeze(-1)).squeeze(-1)
        sums = (scores.softmax(dim=-1) @ x).transpose(0, 1)  # (heads, B, D)
        values = (sums @ self.value_weight).transpose(0, 1).flatten(1)  # (B, heads x d)
        pooled = output_of(self.proj, values if self.value_bias is None else values + self.value_bias)
        return pooled if self.mlp is None else pooled + output_of(self.mlp, self.norm(pooled))
