"""timm's `VisionTransformer`: ViT, DeiT III, DINOv2, CLIP, SigLIP, AIMv2 and many more.

Its blocks may norm before attention and MLP (`Block`) or after them (`ResPostBlock`), or compute both from the same
normed tokens (`ParallelScalingBlock`). A convolutional network may embed the patches (`HybridEmbed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import Attention, HybridEmbed
from timm.models.vision_transformer import (
    Block,
    ParallelScalingBlock,
    ResPostBlock,
    VisionTransformer,
    checkpoint_filter_fn,
)
from timm.models.vision_transformer_hybrid import ConvStem
from torch import Tensor, nn

from noah.backbone.families.family import Family
from noah.backbone.families.releases import (
    gate_of,
    leaves_prefix_out,
    misplaces_mlp_bias,
    shares_output_projection,
)
from noah.backbone.families.vision import (
    RESAMPLED,
    VisionNetwork,
    converted_by,
    mlp_layers,
    mlp_view,
    of_first_block,
    scale_of,
    state_of_layer,
    unsupported_channels,
    unsupported_images,
    unsupported_mlp,
    unsupported_pooling,
    unsupported_post_norm,
    unsupported_scales,
)
from noah.backbone.layers import linear, with_layers
from noah.backbone.normalization import fold_normalization, takes_normalization
from noah.backbone.view import FC2, GATE, PROJ, QKV, AttentionView, BlockView, MlpView, Readers


class PlainNetwork(VisionNetwork):
    """timm's `VisionTransformer`."""

    @property
    def stem(self) -> nn.Module:
        """The convolution that embeds patches, behind the convolutional network if there is one."""
        embedding = self.backbone.patch_embed
        if not isinstance(embedding, HybridEmbed):
            return super().stem
        return nn.Sequential(_LastFeatures(embedding.backbone), embedding.proj)

    @property
    def patch_dim(self) -> int:
        """Inputs of the patch embedding's last convolution."""
        *_, last = (layer for layer in self.backbone.patch_embed.modules() if isinstance(layer, nn.Conv2d))
        return int(last.weight[0].numel())

    @property
    def patch_norm(self) -> nn.Module:
        """Norm of the patches, before positions are added."""
        return nn.Identity() if isinstance(self.backbone.patch_embed, HybridEmbed) else super().patch_norm

    def stem_of_pixels(self, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        """The stem for pixels in 0..255, their normalization folded in, or else a step before it."""
        embedding = self.backbone.patch_embed
        network = getattr(embedding, "backbone", None)
        if isinstance(network, ConvStem) and takes_normalization(network[0].conv):
            first = with_layers(network[0], conv=fold_normalization(network[0].conv, mean, std))
            return nn.Sequential(_LastFeatures(with_layers(network, **{"0": first})), embedding.proj)
        return super().stem_of_pixels(mean, std)

    def block(self, index: int) -> BlockView:
        """One block."""
        return view_block(self.backbone.blocks[index])

    @property
    def readers(self) -> Readers:
        """Which tokens are read behind the last block."""
        if self.backbone.global_pool == "map" and self.backbone.pool_include_prefix:
            return Readers.IMAGE
        return super().readers

    def state_of_block(self, index: int, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
        """Linear layers of a block as the backbone's state holds them."""
        block = self.backbone.blocks[index]
        if not isinstance(block, ParallelScalingBlock):
            return super().state_of_block(index, layers)
        fc1, qkv = layers["fc1"], layers[QKV]
        place = f"blocks.{index}"
        state = state_of_layer(f"{place}.attn_out_proj", layers[PROJ]) | state_of_layer(
            f"{place}.mlp_out_proj", layers[FC2]
        )
        state[f"{place}.in_proj.weight"] = torch.cat([fc1.weight, qkv.weight])
        if block.mlp_bias is None:
            state[f"{place}.in_proj.bias"] = torch.cat([fc1.bias, qkv.bias])
        else:
            state[f"{place}.mlp_bias"] = fc1.bias
            if qkv.bias is not None:
                state[f"{place}.in_proj.bias"] = qkv.bias
        return state


class _LastFeatures(nn.Module):
    """A convolutional network's last features, where it gives those of several depths."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, features, rows, columns)."""
        found = self.network(images)
        last: Tensor = found[-1] if isinstance(found, list | tuple) else found
        return last


def view_block(block: Any) -> BlockView:
    """The view on a block of timm's `VisionTransformer`."""
    if isinstance(block, ParallelScalingBlock):
        return _view_parallel(block)
    post = isinstance(block, ResPostBlock)
    return BlockView(
        {**attention_layers(block.attn), **mlp_layers(block.mlp)},
        attention_view(block.attn),
        mlp_view(block.mlp),
        norm1=nn.Identity() if post else block.norm1,
        norm2=nn.Identity() if post else block.norm2,
        scale1=None if post else scale_of(block.ls1),
        scale2=None if post else scale_of(block.ls2),
        behind1=block.norm1 if post else None,
        behind2=block.norm2 if post else None,
    )


def attention_layers(attention: Any) -> dict[str, nn.Linear]:
    """The linear layers of timm's `Attention`."""
    gate = gate_of(attention)
    return {QKV: attention.qkv, **({} if gate is None else {GATE: gate}), PROJ: attention.proj}


def attention_view(attention: Any) -> AttentionView:
    """How timm's `Attention` attends."""
    heads = attention.num_heads
    return AttentionView(heads, heads, attention.scale, attention.q_norm, attention.k_norm, attention.norm)


def _view_parallel(block: Any) -> BlockView:
    """Of `ParallelScalingBlock`, whose one product gives the MLP's first layer and queries, keys and values."""
    hidden = block.in_split[0]
    bias = block.in_proj.bias
    mlp_bias, qkv_bias = (block.mlp_bias, None) if bias is None else (bias[:hidden], bias[hidden:])
    layers = {
        QKV: linear(block.in_proj.weight[hidden:], qkv_bias),
        PROJ: block.attn_out_proj,
        "fc1": linear(block.in_proj.weight[:hidden], mlp_bias),
        FC2: block.mlp_out_proj,
    }
    heads = block.num_heads
    scale = scale_of(block.ls)
    return BlockView(
        layers,
        AttentionView(heads, heads, block.scale, block.q_norm, block.k_norm, nn.Identity()),
        MlpView(("fc1",), block.mlp_act, None, nn.Identity()),
        norm1=block.in_norm,
        norm2=block.in_norm,
        scale1=scale,
        scale2=scale,
        parallel=True,
    )


def unsupported(backbone: Any) -> list[str]:
    """The reasons why a `VisionTransformer` is not covered."""
    blocks = of_first_block([unsupported_in_block(block) for block in backbone.blocks])
    forgotten = ["timm before 1.0.26 leaves out its class token"] if leaves_prefix_out(backbone) else []
    return unsupported_pooling(backbone) + _unsupported_embedding(backbone) + forgotten + blocks


def _unsupported_embedding(backbone: Any) -> list[str]:
    embedding = backbone.patch_embed
    if type(embedding) is not HybridEmbed:
        return unsupported_images(backbone)
    pads = ["dynamic_img_pad pads features inside the network"] if embedding.dynamic_img_pad else []
    return pads + unsupported_channels(backbone)


def unsupported_in_block(block: Any) -> list[str]:
    """The reasons why a block is not covered."""
    if type(block) is ParallelScalingBlock:
        shared = ["attention and MLP share one output projection"] if shares_output_projection(block) else []
        return shared + (["timm before 1.0.23 misplaces the bias of its MLP"] if misplaces_mlp_bias(block) else [])
    if type(block) not in (Block, ResPostBlock):
        return [f"its type is {type(block).__name__}, not Block, ResPostBlock or ParallelScalingBlock"]
    reasons = []
    if type(block.attn) is not Attention:
        reasons.append(f"its attention is {type(block.attn).__name__}, not Attention")
    if type(block) is ResPostBlock:
        reasons += unsupported_post_norm(block)
    reasons += unsupported_mlp(block.mlp)
    return reasons + unsupported_scales(block)


converted = converted_by(checkpoint_filter_fn, **RESAMPLED)
"""A checkpoint's weights for a network."""

PLAIN = Family(
    "plain",
    VisionTransformer,
    unsupported,
    PlainNetwork,
    converted,
)
