"""A plain forward of the method, written from its definition: every token in every block, nothing folded.

It is the other implementation that `noah.model.supernet` and `noah.model.merge` have to agree with. What each kind of
module does is written here once more, from the papers, in matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import GluMlp, SwiGLU
from torch import Tensor

from noah.model.supernet import Supernet
from noah.space.subnet import Subnet


def plain_forward(supernet: Supernet, images: Tensor, subnet: Subnet) -> Tensor:
    """Logits by the definition: prompts as tokens, all of them through every layer, attention by matmul and softmax."""
    backbone: Any = supernet.backbone
    x = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(images)))
    tokens = x.shape[1]
    for index, block in enumerate(backbone.blocks):
        here = PlainBlock(supernet, subnet, index)
        if count := here.widths.get("prompt", 0):
            new = here.strength("prompt") * here.module("prompt").tokens[:count]
            x = torch.cat([x[:, :tokens], new.expand(len(x), -1, -1)], dim=1)
        x = x + block.ls1(here.attention(block.attn, block.norm1(x)))
        m = block.ls2(here.mlp(block.mlp, block.norm2(x)))
        if width := here.widths.get("adapter", 0):
            m = m + here.bottleneck("adapter", m, width, lambda z: z * torch.sigmoid(1.702 * z))
        x = x + m
        if width := here.widths.get("adapter_plus", 0):
            gelu = torch.nn.functional.gelu
            x = x + here.module("adapter_plus").scale * here.bottleneck("adapter_plus", x, width, gelu)
    x = backbone.norm(x[:, :tokens])
    pooled = x[:, 0] if backbone.global_pool == "token" else x[:, backbone.num_prefix_tokens :].mean(dim=1)
    return supernet.head(backbone.fc_norm(pooled))


class PlainBlock:
    """The modules of one block that a subnet uses."""

    def __init__(self, supernet: Supernet, subnet: Subnet, index: int) -> None:
        self.widths = subnet.block(index)
        self.module: Callable[[str], Any] = lambda kind: supernet.module(kind, index)
        self.strength: Callable[[str], float] = lambda kind: supernet.strengths.get(kind, 1.0)

    def attention(self, attention: Any, h: Tensor) -> Tensor:
        """Multi-head attention of all tokens over all tokens."""
        h = self.normed(h, "norm1", "linear_adapter_attention")
        qkv = self.offset("qkv", attention.qkv(h) + self.low_rank("lora", h))
        batch, count, _ = h.shape
        q, k, v = qkv.reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        q, k = attention.q_norm(q), attention.k_norm(k)
        weights = (q @ k.transpose(-2, -1) * attention.scale).softmax(dim=-1)
        o = attention.norm((weights @ v).transpose(1, 2).reshape(batch, count, -1))
        return self.scaled("proj", self.offset("proj", attention.proj(o) + self.low_rank("lora_proj", o)))

    def mlp(self, mlp: Any, h: Tensor) -> Tensor:
        """The MLP of timm, layer by layer."""
        h = self.normed(h, "norm2", "linear_adapter_mlp")
        names = ("fc1_g", "fc1_x") if isinstance(mlp, SwiGLU) else ("fc1",)
        outputs = [
            self.offset(name, getattr(mlp, name)(h) + self.low_rank("lora_fc1", h, lambda m, n=name: m.additions[n]))
            for name in names
        ]
        if isinstance(mlp, SwiGLU):
            inner = mlp.act(outputs[0]) * outputs[1]
        elif isinstance(mlp, GluMlp):
            half = outputs[0].shape[-1] // 2
            first, last = outputs[0][..., :half], outputs[0][..., half:]
            inner = first * mlp.act(last) if mlp.gate_last else mlp.act(first) * last
        else:
            inner = mlp.act(outputs[0])
        z = mlp.norm(inner)
        return self.scaled("fc2", self.offset("fc2", mlp.fc2(z) + self.low_rank("lora_fc2", z)))

    def normed(self, h: Tensor, norm: str, linear_adapter: str) -> Tensor:
        """Normed tokens, scaled and shifted, then with a linear adapter."""
        if "scale_shift" in self.widths:
            h = self.scaled(norm, h)
        if width := self.widths.get(linear_adapter, 0):
            h = h + self.bottleneck(linear_adapter, h, width, lambda z: z)
        return h

    def scaled(self, layer: str, y: Tensor) -> Tensor:
        """The output of a norm or a layer, scaled and shifted."""
        if "scale_shift" not in self.widths:
            return y
        module, strength = self.module("scale_shift"), self.strength("scale_shift")
        return y + strength * (y * (module.scales[layer] - 1) + module.shifts[layer])

    def offset(self, layer: str, y: Tensor) -> Tensor:
        """The output of a layer with its offset."""
        if "bias" not in self.widths or layer not in self.module("bias").offsets:
            return y
        given = self.strength("bias") * self.module("bias").offsets[layer]
        if layer != "qkv" or given.shape[0] == y.shape[-1]:
            return y + given
        of_queries, of_values = given.chunk(2)
        return y + torch.cat([of_queries, torch.zeros_like(of_queries), of_values])

    def low_rank(self, kind: str, h: Tensor, part: Callable[[Any], Any] = lambda module: module) -> Tensor | float:
        """(h A^T) B^T with the first rows of A and the first columns of B."""
        if not (rank := self.widths.get(kind, 0)):
            return 0.0
        module = part(self.module(kind))
        return self.strength(kind) * (h @ module.a[:rank].T) @ module.b[:, :rank].T

    def bottleneck(self, kind: str, x: Tensor, width: int, bend: Callable[[Tensor], Tensor]) -> Tensor:
        """U g(V x + v) + u with the first rows and columns."""
        module = self.module(kind)
        z = x @ module.down[:width].T + module.down_bias[:width]
        return self.strength(kind) * (bend(z) @ module.up[:, :width].T + module.up_bias)
