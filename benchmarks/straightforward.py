"""The method written exactly as it is defined, with no optimization: what `benchmarks.steps` compares ours with.

Prompts are tokens in every block, LoRA is computed beside the projection, attention is product, softmax, product, and
every token goes through every layer of every block. Widths are arguments, and the weights have the same names as in
`noah.model.supernet.Supernet`, so that the two can share them. It supports class tokens and LayerScale, which the
measured backbones have.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import drop_path
from torch import Tensor, nn
from torch.nn import functional as F

from noah.space.subnet import Subnet


class Straightforward(nn.Module):
    """A backbone with a head, and with the modules of every block at their largest width.

    Args:
        backbone: A timm `VisionTransformer` with class-token pooling; frozen here.
        largest: The largest width of each module, block by block.
        num_classes: Outputs of the head.
        dropout: Rate of the dropout in the modules, in training.
        drop_path: Rate of stochastic depth in the last block, rising linearly from 0, in training.
    """

    backbone: Any

    def __init__(
        self, backbone: nn.Module, largest: Subnet, num_classes: int, dropout: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        width = self.backbone.embed_dim
        self.head = nn.Linear(width, num_classes)
        self.prompts = nn.ModuleList(_weights(tokens=(count, width)) for count in largest.prompt)
        self.loras = nn.ModuleList(_weights(a=(rank, width), b=(3 * width, rank)) for rank in largest.lora)
        self.adapters = nn.ModuleList(
            _weights(down=(size, width), down_bias=(size,), up=(width, size), up_bias=(width if size else 0,))
            for size in largest.adapter
        )
        self.dropout = dropout
        self.drop_path_rates = [drop_path * block / max(1, largest.depth - 1) for block in range(largest.depth)]

    def train(self, mode: bool = True) -> Straightforward:
        """Switch the modules' dropout and drop-path; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor, subnet: Subnet) -> Tensor:
        """Compute logits (B, classes) of normalized `images` (B, 3, H, W) with one subnet."""
        backbone = self.backbone
        x = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(images)))
        tokens = x.shape[1]
        for index, block in enumerate(backbone.blocks):
            count, rank, size = (subnet.widths(kind)[index] for kind in ("prompt", "lora", "adapter"))
            if count:
                prompt: Any = self.prompts[index]
                new = self._drop(prompt.tokens[:count].expand(len(x), -1, -1))
                x = torch.cat([x[:, :tokens], new], dim=1)
            rate = self.drop_path_rates[index]
            attended = self._attention(block.attn, index, block.norm1(x), rank)
            x = x + drop_path(block.ls1(attended), rate, self.training)
            m = block.ls2(block.mlp(block.norm2(x)))
            if size:
                adapter: Any = self.adapters[index]
                z = F.linear(m, adapter.down[:size], adapter.down_bias[:size])
                m = m + F.linear(self._drop(z * torch.sigmoid(1.702 * z)), adapter.up[:, :size], adapter.up_bias)
            x = x + drop_path(m, rate, self.training)
        logits: Tensor = self.head(backbone.fc_norm(backbone.norm(x)[:, 0]))
        return logits

    def _attention(self, attention: Any, index: int, h: Tensor, rank: int) -> Tensor:
        """Compute attention of all tokens (B, N, D) to all tokens, including the output projection."""
        qkv = attention.qkv(h)
        if rank:
            lora: Any = self.loras[index]
            qkv = qkv + F.linear(F.linear(self._drop(h), lora.a[:rank]), lora.b[:, :rank])
        batch, count, width = h.shape
        q, k, v = qkv.reshape(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * attention.scale).softmax(dim=-1)
        mixed: Tensor = attention.proj((weights @ v).transpose(1, 2).reshape(batch, count, width))
        return mixed

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def _weights(**shapes: tuple[int, ...]) -> nn.Module:
    """Make a module that holds uninitialized weights of these shapes."""
    module = nn.Module()
    for name, shape in shapes.items():
        module.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    return module
