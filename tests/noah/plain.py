"""A plain forward of the method, written from its definition: every token in every block, nothing folded.

It is the other implementation that `noah.model.supernet` and `noah.model.merge` have to agree with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noah.model.supernet import Supernet
from noah.space.subnet import Subnet


def plain_forward(supernet: Supernet, images: Tensor, subnet: Subnet) -> Tensor:
    """Logits by the definition: prompts as tokens, all of them through every layer, attention by matmul and softmax."""
    backbone: Any = supernet.backbone
    x = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(images)))
    tokens = x.shape[1]
    for index, block in enumerate(backbone.blocks):
        prompt, rank, width = subnet.block(index)
        if prompt:
            new = supernet.prompts[index].tokens[:prompt]
            x = torch.cat([x[:, :tokens], new.expand(len(x), -1, -1)], dim=1)
        x = x + block.ls1(plain_attention(block.attn, supernet.loras[index], block.norm1(x), rank))
        m = block.ls2(block.mlp(block.norm2(x)))
        if width:
            adapter = supernet.adapters[index]
            z = m @ adapter.down[:width].T + adapter.down_bias[:width]
            m = m + (z * torch.sigmoid(1.702 * z)) @ adapter.up[:, :width].T + adapter.up_bias
        x = x + m
    x = backbone.norm(x[:, :tokens])
    pooled = x[:, 0] if backbone.global_pool == "token" else x[:, backbone.num_prefix_tokens :].mean(dim=1)
    return supernet.head(backbone.fc_norm(pooled))


def plain_attention(attention: Any, lora: Any, h: Tensor, rank: int) -> Tensor:
    """Multi-head attention of all tokens over all tokens, LoRA beside the projection."""
    qkv = attention.qkv(h)
    if rank:
        qkv = qkv + (h @ lora.a[:rank].T) @ lora.b[:, :rank].T
    batch, count, _ = h.shape
    q, k, v = qkv.reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k = attention.q_norm(q), attention.k_norm(k)
    weights = (q @ k.transpose(-2, -1) * attention.scale).softmax(dim=-1)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, count, -1)
    return attention.proj(attention.norm(mixed))
