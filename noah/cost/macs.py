"""How much work a network does: multiply-accumulates (MACs) for one image, by exact formulas from the shapes.

A product of matrices (m, k) and (k, n) takes m k n MACs, and a convolution takes that many with a row for each position
of its kernel. Elementwise work is not counted: norms, softmax, activations, LayerScale, biases, residual sums and the
mean of average pooling.

Only shapes are read, so a backbone on torch's meta device will do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from noah.errors import SettingsError
from noah.model.token_plan import BlockPlan, Readers, plan_tokens
from noah.space.subnet import Subnet


def backbone_macs(backbone: nn.Module, num_classes: int) -> int:
    """Count the MACs of the plain backbone with a head, as timm runs it: every token goes through every block.

    Args:
        backbone: A timm `VisionTransformer` that the method covers, with or without a head of its own.
        num_classes: The number of outputs of the head.
    """
    model: Any = backbone
    tokens = _image_tokens(model)
    blocks = sum(
        _attention_macs(block.attn, queries=tokens, projected=tokens, keys=tokens) + tokens * _mlp_macs(block.mlp)
        for block in model.blocks
    )
    return _ends_macs(model, num_classes) + blocks


def merged_macs(backbone: nn.Module, subnet: Subnet, num_classes: int) -> int:
    """Count the MACs of a subnet's merged network; see `noah.model.merge`.

    LoRA costs nothing there. Keys and values of prompts that nobody reads again cost something only in the products of
    attention. The last block computes only what the head reads.

    Args:
        backbone: A timm `VisionTransformer` that the method covers, with or without a head of its own.
        subnet: Any subnet as deep as the backbone.
        num_classes: The number of outputs of the head.

    Raises:
        SettingsError: If the depths differ.
    """
    return macs_of(backbone, num_classes)(subnet)


def macs_of(backbone: nn.Module, num_classes: int) -> Callable[[Subnet], int]:
    """Make `merged_macs` for one backbone and many subnets: the work of equal blocks is computed only once.

    Args:
        backbone: A timm `VisionTransformer` that the method covers, with or without a head of its own.
        num_classes: The number of outputs of the head.
    """
    model: Any = backbone
    ends = _ends_macs(model, num_classes)
    last_readers = Readers.CLASS if model.global_pool == "token" else Readers.PATCHES

    @cache
    def block_macs(index: int, plan: BlockPlan, bottleneck: int) -> int:
        return _merged_block_macs(model, model.blocks[index], plan, bottleneck)

    def macs(subnet: Subnet) -> int:
        if subnet.depth != len(model.blocks):
            raise SettingsError([f"subnet: it has {subnet.depth} blocks and the backbone has {len(model.blocks)}"])
        plans = plan_tokens(subnet.prompt, last_readers)
        return ends + sum(map(block_macs, range(subnet.depth), plans, subnet.bottlenecks))

    return macs


def _merged_block_macs(model: Any, block: Any, plan: BlockPlan, bottleneck: int) -> int:
    """One block: attention in one of two forms, then MLP and adapters of the tokens that are read."""
    tokens = _image_tokens(model)
    read: int = {
        Readers.ALL: tokens + plan.passed_on,
        Readers.PATCHES: model.patch_embed.num_patches,
        Readers.CLASS: 1,
    }[plan.readers]
    # Prompts that are passed on are projected like all other tokens; new ones that are not are constants.
    projected = tokens + (plan.passed_on or plan.carried)
    keys = projected + (0 if plan.passed_on else plan.new_prompts)
    if plan.readers is Readers.CLASS and isinstance(block.attn.k_norm, nn.Identity):
        attention = _class_attention_macs(block.attn, model.embed_dim, keys=keys)
    else:
        attention = _attention_macs(block.attn, queries=read, projected=projected, keys=keys)
    return attention + read * (_mlp_macs(block.mlp) + 2 * int(model.embed_dim) * bottleneck)


def _attention_macs(attention: Any, *, queries: int, projected: int, keys: int) -> int:
    """Count the projections of queries, keys and values, the two products of attention, and the output projection.

    Args:
        attention: timm's `Attention`.
        queries: The number of tokens that need a query.
        projected: The number of tokens whose key and value are computed.
        keys: The number of tokens that are attended to, including constant ones.
    """
    products = 2 * queries * keys * int(attention.attn_dim)
    return products + (queries + 2 * projected) * _third_macs(attention) + queries * _output_macs(attention)


def _class_attention_macs(attention: Any, embed_dim: int, *, keys: int) -> int:
    """Count one query per head that absorbs the key matrix, with the value matrix applied after the weighted sum.

    Args:
        attention: timm's `Attention`.
        embed_dim: Width D of the tokens, which is the inner size of the two products of attention here.
        keys: The number of tokens that are attended to.
    """
    products = 2 * int(attention.num_heads) * embed_dim * keys
    return products + 3 * _third_macs(attention) + _output_macs(attention)


def _third_macs(attention: Any) -> int:
    """Count the projection of one token to its query, key or value."""
    return int(attention.qkv.weight.numel()) // 3


def _output_macs(attention: Any) -> int:
    """Count the output projection of one token."""
    return int(attention.proj.weight.numel())


def _mlp_macs(mlp: nn.Module) -> int:
    """Count the MLP for one token."""
    return sum(layer.weight.numel() for layer in mlp.modules() if isinstance(layer, nn.Linear))


def _ends_macs(model: Any, num_classes: int) -> int:
    """Count the patch embedding and the head."""
    return int(model.patch_embed.num_patches * model.patch_embed.proj.weight.numel() + model.embed_dim * num_classes)


def _image_tokens(model: Any) -> int:
    """The number of class, register and patch tokens."""
    return int(model.num_prefix_tokens + model.patch_embed.num_patches)
