"""A plain forward of the method, written from its definition: every token in every block, nothing folded.

It is the other implementation that `noah.model.supernet` and `noah.model.merge` have to agree with. What each kind of
module does is written here once more, from the papers, in matrices; and what each family of timm's networks does
around them, from timm's own forward passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import GluMlp, SwiGLU, apply_rot_embed_cat
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaBlockPostNorm
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock
from timm.models.vision_transformer_relpos import ResPostRelPosBlock, VisionTransformerRelPos
from torch import Tensor
from torch.nn import functional as F

from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

POST_NORM = (EvaBlockPostNorm, ResPostBlock, ResPostRelPosBlock)


def plain_forward(supernet: Supernet, images: Tensor, subnet: Subnet) -> Tensor:
    """Logits by the definition: prompts as tokens, all of them through every layer, attention by matmul and softmax."""
    backbone: Any = supernet.backbone
    x, rotations = first_tokens(backbone, images)
    tokens = x.shape[1]
    for index, block in enumerate(backbone.blocks):
        here = PlainBlock(supernet, subnet, index)
        here.prefix, here.rotation = backbone.num_prefix_tokens, rotations(index)
        here.bias = relative_bias(backbone, block)
        if count := here.widths.get("prompt", 0):
            new = here.strength("prompt") * here.module("prompt").tokens[:count]
            x = torch.cat([x[:, :tokens], new.expand(len(x), -1, -1)], dim=1)
        x = here.block(block, x)
        if width := here.widths.get("adapter_plus", 0):
            gelu = torch.nn.functional.gelu
            x = x + here.module("adapter_plus").scale * here.bottleneck("adapter_plus", x, width, gelu)
    return plain_head(supernet, backbone.norm(x[:, :tokens]))


def first_tokens(backbone: Any, images: Tensor) -> tuple[Tensor, Callable[[int], Tensor | None]]:
    """The tokens before the first block, and the table of each block's rotary positions."""
    x = backbone.patch_embed(images)
    if isinstance(backbone, Eva):
        x, table = backbone._pos_embed(x)
        mixed = backbone.rope_mixed
        return backbone.norm_pre(x), lambda index: table[index] if mixed else table
    if isinstance(backbone, Beit | VisionTransformerRelPos):
        if backbone.cls_token is not None:
            x = torch.cat([backbone.cls_token.expand(len(x), -1, -1), x], dim=1)
        positions = getattr(backbone, "pos_embed", None)
        return (x if positions is None else x + positions), lambda _: None
    return backbone.norm_pre(backbone._pos_embed(x)), lambda _: None


def relative_bias(backbone: Any, block: Any) -> Tensor | None:
    """What is added to the scores between the tokens of the image, (1, heads, N, N)."""
    if isinstance(backbone, Beit):
        own = block.attn._get_rel_pos_bias() if block.attn.relative_position_bias_table is not None else None
        shared = backbone.rel_pos_bias
        return own if shared is None else shared()[None] if own is None else own + shared()
    if isinstance(backbone, VisionTransformerRelPos):
        return (block.attn.rel_pos or backbone.shared_rel_pos).get_bias()
    return None


def plain_head(supernet: Supernet, x: Tensor) -> Tensor:
    """Logits from the normed tokens of the image."""
    backbone: Any = supernet.backbone
    if isinstance(backbone, VisionTransformerDistilled):
        return supernet.head(torch.cat([x[:, 0], x[:, 1]], dim=1))
    if backbone.global_pool == "token":
        pooled = x[:, 0]
    elif backbone.global_pool == "map":
        all_tokens = isinstance(backbone, Eva) or backbone.pool_include_prefix
        pooled = backbone.attn_pool(x if all_tokens else x[:, backbone.num_prefix_tokens :])
    else:
        pooled = x[:, backbone.num_prefix_tokens :].mean(dim=1)
    return supernet.head(backbone.fc_norm(pooled))


def gammas(block: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """What scales the two branches of a block."""
    if hasattr(block, "gamma_1"):
        first, second = (1.0 if gamma is None else gamma for gamma in (block.gamma_1, block.gamma_2))
        return lambda y: first * y, lambda y: second * y
    return block.ls1, block.ls2


class PlainBlock:
    """The modules of one block that a subnet uses, and the positions of its tokens."""

    def __init__(self, supernet: Supernet, subnet: Subnet, index: int) -> None:
        self.widths = subnet.block(index)
        self.module: Callable[[str], Any] = lambda kind: supernet.module(kind, index)
        self.strength: Callable[[str], float] = lambda kind: supernet.strengths.get(kind, 1.0)
        self.prefix = 0
        self.rotation: Tensor | None = None
        self.bias: Tensor | None = None

    def block(self, block: Any, x: Tensor) -> Tensor:
        """A whole block with all its modules but the one behind it."""
        if isinstance(block, ParallelScalingBlock):
            h = block.in_norm(x)
            return x + block.ls(self.parallel_attention(block, h)) + self.adapted(block.ls(self.parallel_mlp(block, h)))
        if isinstance(block, POST_NORM):
            x = x + block.norm1(self.attention(block.attn, x))
            return x + self.adapted(block.norm2(self.mlp(block.mlp, x)))
        first, second = gammas(block)
        x = x + first(self.attention(block.attn, block.norm1(x)))
        return x + self.adapted(second(self.mlp(block.mlp, block.norm2(x))))

    def adapted(self, m: Tensor) -> Tensor:
        """The output of the MLP with an adapter behind it."""
        width = self.widths.get("adapter", 0)
        return m + self.bottleneck("adapter", m, width, lambda z: z * torch.sigmoid(1.702 * z)) if width else m

    def attention(self, attention: Any, h: Tensor) -> Tensor:
        """Multi-head attention of all tokens over all tokens."""
        h = self.normed(h, "norm1", "linear_adapter_attention")
        if attention.qkv is None:
            projected = torch.cat([attention.q_proj(h), attention.k_proj(h), attention.v_proj(h)], dim=-1)
        else:
            projected = attention.qkv(h)
            if getattr(attention, "q_bias", None) is not None:
                zero = torch.zeros_like(attention.q_bias)
                projected = projected + torch.cat([attention.q_bias, zero, attention.v_bias])
        o = self.attend(attention, projected, h)
        if (norm := getattr(attention, "norm", None)) is not None:
            o = norm(o)
        if (gate := getattr(attention, "gate", None)) is not None:
            o = o * torch.sigmoid(self.offset("gate", gate(h)))
        return self.scaled("proj", self.offset("proj", attention.proj(o) + self.low_rank("lora_proj", o)))

    def attend(self, attention: Any, projected: Tensor, h: Tensor) -> Tensor:
        """Weighted sums of values, of queries, keys and values without modules."""
        heads = attention.num_heads
        few = getattr(attention, "num_kv_heads", heads)
        size = projected.shape[-1] // (heads + 2 * few)
        projected = self.offset("qkv", projected + self.low_rank("lora", h), keys=few * size)
        q, k, v = (
            part.reshape(*part.shape[:2], -1, size).transpose(1, 2)
            for part in projected.split([heads * size, few * size, few * size], dim=-1)
        )
        if hasattr(attention, "q_norm"):
            q, k = attention.q_norm(q), attention.k_norm(k)
        q, k = self.turned(attention, q), self.turned(attention, k)
        k, v = (part.repeat_interleave(heads // few, dim=1) for part in (k, v))
        scores = q @ k.transpose(-2, -1) * attention.scale
        if self.bias is not None:
            prompts = scores.shape[-1] - self.bias.shape[-1]
            scores = scores + F.pad(self.bias, (0, prompts, 0, prompts))
        return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)

    def turned(self, attention: Any, x: Tensor) -> Tensor:
        """Queries or keys, those of patches turned."""
        if self.rotation is None:
            return x
        start, stop = self.prefix, self.prefix + self.rotation.shape[-2]
        half = getattr(attention, "rotate_half", False)
        patches = apply_rot_embed_cat(x[:, :, start:stop], self.rotation, half=half)
        return torch.cat([x[:, :, :start], patches, x[:, :, stop:]], dim=2)

    def parallel_attention(self, block: Any, h: Tensor) -> Tensor:
        """Attention of a block that computes it beside the MLP."""
        h = self.normed(h, "norm1", "linear_adapter_attention")
        hidden = block.in_split[0]
        o = self.attend(block, block.in_proj(h)[..., hidden:], h)
        return self.scaled("proj", self.offset("proj", block.attn_out_proj(o) + self.low_rank("lora_proj", o)))

    def parallel_mlp(self, block: Any, h: Tensor) -> Tensor:
        """The MLP of such a block."""
        h = self.normed(h, "norm2", "linear_adapter_mlp")
        y = block.in_proj(h)[..., : block.in_split[0]]
        y = y if block.mlp_bias is None else y + block.mlp_bias
        y = self.offset("fc1", y + self.low_rank("lora_fc1", h, lambda m: m.additions["fc1"]))
        z = block.mlp_act(y)
        return self.scaled("fc2", self.offset("fc2", block.mlp_out_proj(z) + self.low_rank("lora_fc2", z)))

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

    def offset(self, layer: str, y: Tensor, keys: int = 0) -> Tensor:
        """The output of a layer with its offset; among queries, keys and values, keys may have none."""
        if "bias" not in self.widths or layer not in self.module("bias").offsets:
            return y
        given = self.strength("bias") * self.module("bias").offsets[layer]
        if given.shape[0] == y.shape[-1]:
            return y + given
        of_queries, of_values = given.split([given.shape[0] - keys, keys])
        return y + torch.cat([of_queries, given.new_zeros(keys), of_values])

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
