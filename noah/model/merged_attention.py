"""The attention of a merged network, in its two forms.

`MergedAttention` stores the keys and values of prompts that nobody reads again as constants. `ClassAttention` is for
the last block where the class token is read alone: one query per head makes values unnecessary, and keys, too, where
they are linear in the tokens. `noah.model.merge` says why both are exact.
"""

from __future__ import annotations

from torch import Tensor, nn

from noah.backbone.layers import linear
from noah.backbone.view import GATE, PROJ, QKV, AttentionView, BlockView, Readers, Rotation
from noah.model.attention import (
    append_tokens,
    attend,
    bias_among,
    keys_and_values,
    queries_of,
    read_tokens,
    split_heads,
)
from noah.model.folding import rows_of
from noah.model.kinds.module import output_of
from noah.model.token_plan import BlockPlan

Layers = dict[str, nn.Linear]


class MergedAttention(nn.Module):
    """Attention with constant keys and values for prompts that nobody reads again.

    Args:
        view: The block, which gives norms, positions and heads.
        plan: What the block does with prompt tokens.
        prefix: The number of class and register tokens.
        tokens: The number of all tokens of an image, prompts aside.
        layers: The block's linear layers with everything folded in.
        new_tokens: This block's prompt tokens (1, p, D), or None.
    """

    new_tokens: Tensor | None
    constant_keys: Tensor | None
    constant_values: Tensor | None

    def __init__(
        self, view: BlockView, plan: BlockPlan, prefix: int, tokens: int, layers: Layers, new_tokens: Tensor | None
    ) -> None:
        super().__init__()
        self.norm, self.behind = view.norm1, view.behind1
        self.plan = plan
        self.heads = Heads(view.attention)
        self.gate, self.proj = layers.get(GATE), layers[PROJ]
        count = tokens + (plan.passed_on or plan.carried)
        self.read = read_tokens(plan.readers, prefix, count, plan.passed_on or plan.carried, plan.passed_on)
        rows, qkv = view.key_rows, layers[QKV]
        self.widths = [rows.start, 2 * len(rows)]
        # One product if every token needs a query, two if some only need keys and values.
        self.qkv: nn.Linear | None = None
        self.q: nn.Linear | None = None
        self.kv: nn.Linear | None = None
        if plan.readers in (Readers.ALL, Readers.IMAGE) and (plan.passed_on or not plan.carried):
            self.qkv = qkv
        else:
            self.q, self.kv = rows_of(qkv, slice(0, rows.start)), rows_of(qkv, slice(rows.start, None))
        constant = new_tokens is not None and not plan.passed_on
        keys, values = None, None
        if constant:
            projected = rows_of(qkv, slice(rows.start, None))(view.norm1(new_tokens))
            keys, values = (part.contiguous() for part in keys_and_values(view.attention, projected))
        self.register_buffer("constant_keys", keys)
        self.register_buffer("constant_values", values)
        self.register_buffer("new_tokens", None if constant else new_tokens)
        self.heads.hold(view.attention, self.read, prefix, count, count + (plan.new_prompts if constant else 0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens (B, N, D) to those that are read, (B, M, D), and to what attention adds to them."""
        if self.new_tokens is not None:
            x = append_tokens(x, self.new_tokens, dim=1)
        h = self.norm(x).to(
            self.proj.weight.dtype
        )  # round only once, if the weights are rounded (`noah.hardware.bf16_weights`)
        if self.qkv is not None:
            queries, projected = self.qkv(h).split(self.widths, dim=-1)
        else:
            assert self.q is not None and self.kv is not None
            x, queries, projected = x[:, self.read], self.q(h[:, self.read]), self.kv(h)
        queries = queries_of(self.heads.view, queries, self.heads.of_queries)
        keys, values = keys_and_values(self.heads.view, projected, self.heads.of_keys)
        if self.constant_keys is not None and self.constant_values is not None:
            keys = append_tokens(keys, self.constant_keys, dim=2)
            values = append_tokens(values, self.constant_values, dim=2)
        mixed = attend(self.heads.view, queries, keys, values, self.heads.bias)
        if self.gate is not None:
            mixed = mixed * self.gate(h if self.qkv is not None else h[:, self.read]).sigmoid()
        attended = output_of(self.proj, mixed)
        return x, attended if self.behind is None else output_of(self.behind, attended)


class Heads(nn.Module):
    """The norms of attention's heads, with positions of the tokens in one block as constants.

    Args:
        attention: How the block attends.
    """

    query_sin: Tensor | None
    query_cos: Tensor | None
    key_sin: Tensor | None
    key_cos: Tensor | None
    bias: Tensor | None

    def __init__(self, attention: AttentionView) -> None:
        super().__init__()
        self.q_norm, self.k_norm, self.norm = attention.q_norm, attention.k_norm, attention.norm
        self.heads, self.key_heads, self.scale = attention.heads, attention.key_heads, attention.scale
        self.halves = attention.rotation is not None and attention.rotation.halves

    def hold(self, attention: AttentionView, read: slice, prefix: int, tokens: int, keys: int) -> None:
        """Keep the positions of a block's tokens.

        Args:
            attention: How the block attends.
            read: The tokens that have a query.
            prefix: The number of class and register tokens.
            tokens: The number of all tokens in the block.
            keys: The number of these and of constant keys.
        """
        turned = attention.rotation
        of_keys = turned and turned.among(prefix, tokens - prefix - turned.sin.shape[1])
        # A query of a token without a place needs no rotation.
        last = len(range(*read.indices(tokens))) + read.start
        of_queries = of_keys.of(read) if of_keys and last > prefix else None
        for name, rotation in (("query", of_queries), ("key", of_keys)):
            self.register_buffer(f"{name}_sin", None if rotation is None else rotation.sin.contiguous())
            self.register_buffer(f"{name}_cos", None if rotation is None else rotation.cos.contiguous())
        bias = attention.bias
        self.register_buffer("bias", None if bias is None else bias_among(bias, read, tokens, keys).contiguous())

    @property
    def of_queries(self) -> Rotation | None:
        """The rotation of the tokens that have a query."""
        return self._rotation(self.query_sin, self.query_cos)

    @property
    def of_keys(self) -> Rotation | None:
        """The rotation of all tokens that are projected."""
        return self._rotation(self.key_sin, self.key_cos)

    @property
    def view(self) -> AttentionView:
        """Heads and norms, to compute with."""
        return AttentionView(self.heads, self.key_heads, self.scale, self.q_norm, self.k_norm, self.norm)

    def _rotation(self, sin: Tensor | None, cos: Tensor | None) -> Rotation | None:
        return None if sin is None or cos is None else Rotation(sin, cos, self.halves)


class ClassAttention(nn.Module):
    """Attention of the class token alone, without forming values, nor keys where these are linear.

    Args:
        view: The block, which gives norms, positions and heads.
        prefix: The number of class and register tokens.
        tokens: The number of all tokens in the block, those carried included.
        layers: The block's linear layers with everything folded in.
        new_tokens: This block's prompt tokens (1, p, D), or None.
    """

    key_weight: Tensor | None
    value_weight: Tensor
    value_bias: Tensor | None
    constant_inputs: Tensor | None
    constant_keys: Tensor | None

    def __init__(self, view: BlockView, prefix: int, tokens: int, layers: Layers, new_tokens: Tensor | None) -> None:
        super().__init__()
        attention, qkv, rows = view.attention, layers[QKV], view.key_rows
        self.norm, self.behind = view.norm1, view.behind1
        self.heads = Heads(attention)
        self.gate, self.proj = layers.get(GATE), layers[PROJ]
        self.q = linear(qkv.weight[: rows.start], None if qkv.bias is None else qkv.bias[: rows.start])
        self.k: nn.Linear | None = None
        key, value = qkv.weight[rows.start :].chunk(2)
        key_weight, constant_keys, inputs = None, None, None
        if new_tokens is not None:
            inputs = output_of(view.norm1, new_tokens)
        if attention.keys_are_linear:
            key_weight = _for_queries(key, attention) * attention.scale
        else:
            self.k = linear(key, None if qkv.bias is None else qkv.bias[rows.start : rows.stop])
            if inputs is not None:
                constant_keys = output_of(attention.k_norm, split_heads(self.k(inputs), attention.key_heads))
        value_weight = _for_queries(value, attention).transpose(1, 2).contiguous()
        value_bias = None if qkv.bias is None else _for_queries(qkv.bias[rows.stop :], attention).flatten()
        self.register_buffer("key_weight", key_weight)
        self.register_buffer("constant_keys", constant_keys)
        self.register_buffer("value_weight", value_weight)
        self.register_buffer("value_bias", value_bias)
        self.register_buffer("constant_inputs", inputs)
        count = tokens + (0 if inputs is None else inputs.shape[1])
        self.heads.hold(attention, slice(0, 1), prefix, tokens, count)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens (B, N, D) to the class token (B, 1, D), and to what attention adds to it."""
        h = self.norm(x).to(self.value_weight.dtype)
        of_image, first = h, h[:, 0]
        if self.constant_inputs is not None:
            h = append_tokens(h, self.constant_inputs, dim=1)
        queries = self.heads.q_norm(self.q(first).reshape(h.shape[0], self.heads.heads, -1))  # (B, heads, d)
        if self.key_weight is not None:
            absorbed = (queries.transpose(0, 1) @ self.key_weight).transpose(0, 1)  # (B, heads, D)
            scores = absorbed @ h.transpose(1, 2)  # (B, heads, N)
        else:
            scores = self._scores(queries, of_image)
        if self.heads.bias is not None:
            scores = scores + self.heads.bias[:, :, 0]
        sums = (scores.softmax(dim=-1) @ h).transpose(0, 1)  # (heads, B, D)
        values = (sums @ self.value_weight).transpose(0, 1).flatten(1)  # (B, heads x d)
        if self.value_bias is not None:
            values = values + self.value_bias
        mixed = output_of(self.heads.norm, values)
        if self.gate is not None:
            mixed = mixed * self.gate(first).sigmoid()
        attended = output_of(self.proj, mixed).unsqueeze(1)
        return x[:, :1], attended if self.behind is None else output_of(self.behind, attended)

    def _scores(self, queries: Tensor, h: Tensor) -> Tensor:
        """Scores (B, heads, N) by keys that are normed or turned."""
        assert self.k is not None
        keys = output_of(self.heads.k_norm, split_heads(self.k(h), self.heads.key_heads))
        rotation = self.heads.of_keys
        keys = keys if rotation is None else rotation(keys)
        if self.constant_keys is not None:
            keys = append_tokens(keys, self.constant_keys, dim=2)
        if self.heads.key_heads != self.heads.heads:
            keys = keys.repeat_interleave(self.heads.heads // self.heads.key_heads, dim=1)
        return ((queries * self.heads.scale).unsqueeze(2) @ keys.transpose(2, 3)).squeeze(2)


def _for_queries(weight: Tensor, attention: AttentionView) -> Tensor:
    """Rows (key heads x d, ...) as (heads, d, ...): each head once for each head of queries that it serves."""
    by_head = weight.reshape(attention.key_heads, -1, *weight.shape[1:])
    return by_head.repeat_interleave(attention.heads // attention.key_heads, dim=0)
