"""The attention of a merged network, in its two forms.

`MergedAttention` stores the keys and values of prompts that nobody reads again as constants. `ClassAttention` is for
the last block under class-token pooling, where one query per head makes keys and values unnecessary.
`noah.model.merge` says why both are exact.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from noah.model.attention import append_tokens, attend, keys_and_values, read_tokens, split_heads
from noah.model.folding import linear, rows_of, with_layers
from noah.model.kinds.module import output_of
from noah.model.token_plan import BlockPlan, Readers


class MergedAttention(nn.Module):
    """Attention with constant keys and values for prompts that nobody reads again.

    Args:
        block: timm's block, which gives the norms.
        plan: What the block does with prompt tokens.
        prefix: The number of class and register tokens.
        qkv: The projection to queries, keys and values, with LoRA folded in.
        proj: The output projection, with LayerScale folded in.
        new_tokens: This block's prompt tokens (1, p, D), or None.
    """

    new_tokens: Tensor | None
    constant_keys: Tensor | None
    constant_values: Tensor | None

    def __init__(
        self, block: Any, plan: BlockPlan, prefix: int, qkv: nn.Linear, proj: nn.Linear, new_tokens: Tensor | None
    ) -> None:
        super().__init__()
        self.norm = block.norm1
        self.plan = plan
        self.prefix = prefix
        self.attention = with_layers(block.attn, qkv=nn.Identity(), proj=nn.Identity())
        self.proj = proj
        third = block.attn.attn_dim
        # One product if every token needs a query, two if some only need keys and values.
        self.qkv: nn.Linear | None = None
        self.q: nn.Linear | None = None
        self.kv: nn.Linear | None = None
        if plan.readers is Readers.ALL and (plan.passed_on or not plan.carried):
            self.qkv = qkv
        else:
            self.q, self.kv = rows_of(qkv, slice(0, third)), rows_of(qkv, slice(third, None))
        constant = new_tokens is not None and not plan.passed_on
        keys, values = None, None
        if constant:
            projected = rows_of(qkv, slice(third, None))(block.norm1(new_tokens))
            by_head = keys_and_values(block.attn, *projected.chunk(2, dim=-1))
            keys, values = (part.contiguous() for part in by_head)
        self.register_buffer("constant_keys", keys)
        self.register_buffer("constant_values", values)
        self.register_buffer("new_tokens", None if constant else new_tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to the tokens that are read, (B, M, D), with attention added."""
        if self.new_tokens is not None:
            x = append_tokens(x, self.new_tokens, dim=1)
        h = self.norm(x).to(
            self.proj.weight.dtype
        )  # round only once, if the weights are rounded (`noah.hardware.bf16_weights`)
        if self.qkv is not None:
            queries, keys, values = self.qkv(h).chunk(3, dim=-1)
        else:
            assert self.q is not None and self.kv is not None
            carried = self.plan.passed_on or self.plan.carried
            read = read_tokens(self.plan.readers, self.prefix, x.shape[1], carried, self.plan.passed_on)
            x = x[:, read]
            queries, (keys, values) = self.q(h[:, read]), self.kv(h).chunk(2, dim=-1)
        queries = self.attention.q_norm(split_heads(queries, self.attention.num_heads))
        keys, values = keys_and_values(self.attention, keys, values)
        if self.constant_keys is not None and self.constant_values is not None:
            keys = append_tokens(keys, self.constant_keys, dim=2)
            values = append_tokens(values, self.constant_values, dim=2)
        return x + output_of(self.proj, attend(self.attention, queries, keys, values))


class ClassAttention(nn.Module):
    """Attention of the class token alone, without forming keys and values.

    Args:
        block: timm's block, which gives the norms.
        qkv: The projection to queries, keys and values, with LoRA folded in.
        proj: The output projection, with LayerScale folded in.
        new_tokens: This block's prompt tokens (1, p, D), or None.
    """

    key_weight: Tensor
    value_weight: Tensor
    value_bias: Tensor | None
    constant_inputs: Tensor | None

    def __init__(self, block: Any, qkv: nn.Linear, proj: nn.Linear, new_tokens: Tensor | None) -> None:
        super().__init__()
        attention = block.attn
        self.heads = attention.num_heads
        self.norm = block.norm1
        self.q_norm = attention.q_norm
        self.output_norm = attention.norm
        self.proj = proj
        query, key, value = qkv.weight.chunk(3)
        query_bias, _, value_bias = (None, None, None) if qkv.bias is None else qkv.bias.chunk(3)
        self.q = linear(query, query_bias)
        self.register_buffer("key_weight", key.reshape(self.heads, -1, key.shape[1]) * attention.scale)
        self.register_buffer("value_weight", value.reshape(self.heads, -1, value.shape[1]).transpose(1, 2).contiguous())
        self.register_buffer("value_bias", value_bias)
        self.register_buffer("constant_inputs", None if new_tokens is None else block.norm1(new_tokens))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to the class token (B, 1, D), with attention added."""
        h = self.norm(x).to(self.key_weight.dtype)
        if self.constant_inputs is not None:
            h = append_tokens(h, self.constant_inputs, dim=1)
        queries = self.q_norm(self.q(h[:, 0]).reshape(h.shape[0], self.heads, -1))  # (B, heads, d)
        absorbed = (queries.transpose(0, 1) @ self.key_weight).transpose(0, 1)  # (B, heads, D)
        weights = (absorbed @ h.transpose(1, 2)).softmax(dim=-1)  # (B, heads, N)
        sums = (weights @ h).transpose(0, 1)  # (heads, B, D)
        values = (sums @ self.value_weight).transpose(0, 1).flatten(1)  # (B, heads x d)
        if self.value_bias is not None:
            values = values + self.value_bias
        return x[:, :1] + output_of(self.proj, self.output_norm(values)).unsqueeze(1)
