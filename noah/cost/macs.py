"""How much work a network does: multiply-accumulates (MACs) for one image, by exact formulas from the shapes.

A product of matrices (m, k) and (k, n) takes m k n MACs, and a convolution takes that many with a row for each position
of its kernel. Elementwise work is not counted: norms, softmax, activations, LayerScale, rotary and relative positions,
biases, residual sums and the mean of average pooling.

Only shapes are read, so a backbone on torch's meta device will do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from noah.backbone.families.registry import view_of
from noah.backbone.view import FC2, GATE, PROJ, QKV, BlockView, NetworkView, Readers
from noah.errors import SettingsError
from noah.model.token_plan import BlockPlan, plan_tokens
from noah.space.subnet import Subnet


def backbone_macs(backbone: nn.Module, num_classes: int) -> int:
    """Count the MACs of the plain backbone with a head, as timm runs it: every token goes through every block.

    Relative positions that a small network computes anew for every batch are left out, as they do not grow with it.

    Args:
        backbone: A timm network that the method covers, with or without a head of its own.
        num_classes: The number of outputs of the head.
    """
    view = view_of(backbone)
    tokens = view.image_tokens
    blocks = sum(
        _attention_macs(block, queries=tokens, projected=tokens, keys=tokens) + tokens * _mlp_macs(block)
        for block in map(view.block, range(view.depth))
    )
    return _ends_macs(view, num_classes) + _pooling_macs(view, merged=False) + blocks


def merged_macs(backbone: nn.Module, subnet: Subnet, num_classes: int) -> int:
    """Count the MACs of a subnet's merged network; see `noah.model.merge`.

    LoRA costs nothing there. Keys and values of prompts that nobody reads again cost something only in the products of
    attention. The last block computes only what the head reads.

    Args:
        backbone: A timm network that the method covers, with or without a head of its own.
        subnet: Any subnet as deep as the backbone.
        num_classes: The number of outputs of the head.

    Raises:
        SettingsError: If the depths differ.
    """
    return macs_of(backbone, num_classes)(subnet)


def macs_of(backbone: nn.Module, num_classes: int) -> Callable[[Subnet], int]:
    """Make `merged_macs` for one backbone and many subnets: the work of equal blocks is computed only once.

    Args:
        backbone: A timm network that the method covers, with or without a head of its own.
        num_classes: The number of outputs of the head.
    """
    view = view_of(backbone)
    ends = _ends_macs(view, num_classes) + _pooling_macs(view, merged=True)

    @cache
    def block_macs(index: int, plan: BlockPlan, bottleneck: int) -> int:
        return _merged_block_macs(view, view.block(index), plan, bottleneck)

    def macs(subnet: Subnet) -> int:
        if subnet.depth != view.depth:
            raise SettingsError([f"subnet: it has {subnet.depth} blocks and the backbone has {view.depth}"])
        plans = plan_tokens(subnet.prompt, view.readers)
        return ends + sum(map(block_macs, range(subnet.depth), plans, subnet.bottlenecks))

    return macs


def _merged_block_macs(view: NetworkView, block: BlockView, plan: BlockPlan, bottleneck: int) -> int:
    """One block: attention in one of two forms, then MLP and adapters of the tokens that are read."""
    read = _tokens_read(view, plan.readers) + plan.passed_on
    # Prompts that are passed on are projected like all other tokens; new ones that are not are constants.
    projected = view.image_tokens + (plan.passed_on or plan.carried)
    keys = projected + (0 if plan.passed_on else plan.new_prompts)
    if plan.readers is Readers.CLASS:
        attention = _class_attention_macs(block, projected=projected, keys=keys)
    else:
        attention = _attention_macs(block, queries=read, projected=projected, keys=keys)
    return attention + read * (_mlp_macs(block) + 2 * view.embed_dim * bottleneck)


def _tokens_read(view: NetworkView, readers: Readers) -> int:
    """The number of tokens that are read, prompts aside."""
    return {
        Readers.ALL: view.image_tokens,
        Readers.IMAGE: view.image_tokens,
        Readers.PATCHES: view.patches,
        Readers.PREFIX: view.prefix,
        Readers.CLASS: 1,
    }[readers]


def _attention_macs(block: BlockView, *, queries: int, projected: int, keys: int) -> int:
    """Count the projections of queries, keys and values, the two products of attention, and what follows.

    Args:
        block: The block.
        queries: The number of tokens that need a query.
        projected: The number of tokens whose key and value are computed.
        keys: The number of tokens that are attended to, including constant ones.
    """
    rows, inputs = block.key_rows, block.layers[QKV].in_features
    products = 2 * queries * keys * rows.start
    projections = (queries * rows.start + 2 * projected * len(rows)) * inputs
    return products + projections + queries * _output_macs(block)


def _class_attention_macs(block: BlockView, *, projected: int, keys: int) -> int:
    """Count one query per head, with the value matrix applied after the weighted sum.

    It absorbs the key matrix where keys are linear; otherwise keys are formed.

    Args:
        block: The block.
        projected: The number of tokens whose key is computed, if keys are.
        keys: The number of tokens that are attended to, including constant ones.
    """
    rows, inputs, heads = block.key_rows, block.layers[QKV].in_features, block.attention.heads
    of_query = rows.start * inputs
    sums = heads * inputs * keys
    if block.attention.keys_are_linear:
        scores = of_query + heads * inputs * keys
    else:
        scores = projected * len(rows) * inputs + keys * rows.start
    return of_query + scores + sums + of_query + _output_macs(block)


def _output_macs(block: BlockView) -> int:
    """Count the output projection of one token, and its gate."""
    return sum(block.layers[name].weight.numel() for name in (GATE, PROJ) if name in block.layers)


def _mlp_macs(block: BlockView) -> int:
    """Count the MLP for one token."""
    return sum(block.layers[name].weight.numel() for name in (*block.mlp.inputs, FC2))


def _pooling_macs(view: NetworkView, *, merged: bool) -> int:
    """Count attention pooling; no other way of pooling takes products."""
    parts = view.pooling.parts
    if parts is None:
        return 0
    tokens = _tokens_read(view, view.readers)
    heads, size = parts.query.shape
    inputs = parts.keys.in_features
    behind = sum(layer.weight.numel() for part in (parts.proj, parts.mlp) if part for layer in _linear_layers(part))
    values, products = heads * size * inputs, 2 * tokens * heads * size
    if not merged:
        return parts.query_macs + tokens * 2 * values + products + behind
    if parts.attention.keys_are_linear:
        return tokens * heads * inputs * 2 + values + behind
    return tokens * (values + heads * size) + tokens * heads * inputs + values + behind


def _linear_layers(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def _ends_macs(view: NetworkView, num_classes: int) -> int:
    """Count the patch embedding and the head."""
    return _stem_macs(view) + view.head_inputs * num_classes


def _stem_macs(view: NetworkView) -> int:
    """Count the convolutions of the patch embedding, run once on shapes alone."""
    counted = 0

    def count(layer: Any, _: Any, output: Tensor) -> None:
        nonlocal counted
        counted += int(layer.weight[0].numel() * output.numel())

    stem = view.stem
    hooks = [layer.register_forward_hook(count) for layer in stem.modules() if isinstance(layer, nn.Conv2d)]
    try:
        shapes = {
            name: torch.empty_like(value, device="meta")
            for name, value in (*stem.named_parameters(), *stem.named_buffers())
        }
        images = torch.empty(1, 3, *view.image_size, device="meta", dtype=view.weight.dtype)
        with torch.no_grad():
            functional_call(stem, shapes, images)
    finally:
        for hook in hooks:
            hook.remove()
    return counted
