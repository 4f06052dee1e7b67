"""Small backbones of every kind that the method covers, with random weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import timm
import torch
from packaging.version import Version
from timm.layers import Attention, HybridEmbed, RmsNorm, SwiGLU
from timm.layers.pos_embed_sincos import get_mixed_freqs
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaBlockPostNorm
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vision_transformer_relpos import ResPostRelPosBlock, VisionTransformerRelPos
from torch import nn

from noah.backbone.families.releases import leaves_prefix_out
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

READS_FOLDERS = Version(timm.__version__) >= Version("1.0.28")
"""Whether timm reads safetensors files from folders."""
SIZE = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3, "num_classes": 7}

VARIANTS: dict[str, dict[str, Any]] = {
    "class token": {},
    "LayerScale": {"init_values": 0.3},
    "registers": {"reg_tokens": 3},
    "registers without position": {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.2},
    "average pooling": {"global_pool": "avg"},
    "average pooling without class token": {"global_pool": "avg", "class_token": False, "reg_tokens": 1},
    "average pooling with the norm before it": {"global_pool": "avg", "fc_norm": False},
    "class token with the norm after it": {"fc_norm": True},
    "query and key norm": {"qk_norm": True},
    "query and key norm, average pooling": {"qk_norm": True, "global_pool": "avg"},
    "norm before the blocks": {"pre_norm": True},
    "norms inside attention and MLP": {"scale_attn_norm": True, "scale_mlp_norm": True},
    "no biases": {"qkv_bias": False, "proj_bias": False, "init_values": 0.5},
    "SwiGLU and RMS norm": {"mlp_layer": SwiGLU, "norm_layer": RmsNorm},
    "any image size": {"dynamic_img_size": True},
    "no position": {"pos_embed": "none"},
    "one block": {"depth": 1},
    "oblong": {"img_size": (16, 32), "patch_size": (4, 8)},
    "oblong grid": {"img_size": (16, 32)},
    "oblong grid, any image size": {"img_size": (32, 16), "dynamic_img_size": True},
}
"""Of timm's plain `VisionTransformer`."""


def _stem(padding: int) -> nn.Module:
    return ConvStem(depth=2, channels=(6, 24), kernel_size=(4, 2), stride=(4, 2), padding=(padding, 0))


def _gated(backbone: Any) -> nn.Module:
    """The backbone with attention that gates what it gives, which no constructor of timm's offers as yet."""
    for block in backbone.blocks:
        block.attn = Attention(backbone.embed_dim, num_heads=3, qkv_bias=True, gated=True)
    return backbone


OTHERS: dict[str, Callable[..., nn.Module]] = {
    "attention pooling": partial(VisionTransformer, **SIZE, global_pool="map", class_token=False),
    "attention pooling of all tokens": partial(
        VisionTransformer, **SIZE, global_pool="map", reg_tokens=2, pool_include_prefix=True
    ),
    "parallel blocks": partial(
        VisionTransformer, **SIZE, block_fn=ParallelScalingBlock, qkv_bias=False, qk_norm=True, init_values=0.3
    ),
    "parallel blocks, biased": partial(
        VisionTransformer, **SIZE, block_fn=ParallelScalingBlock, global_pool="avg", reg_tokens=1
    ),
    "norms behind the branches": partial(VisionTransformer, **SIZE, block_fn=ResPostBlock),
    "gated attention": lambda **options: _gated(VisionTransformer(**SIZE | options)),
    "gated attention, average pooling": lambda **options: _gated(
        VisionTransformer(**SIZE | options, global_pool="avg")
    ),
    "hybrid": lambda **options: VisionTransformer(
        **SIZE | {"patch_size": 1} | options, embed_layer=partial(HybridEmbed, backbone=_stem(0), proj=False)
    ),
    "hybrid that pads": lambda **options: VisionTransformer(
        **SIZE | {"patch_size": 1} | options, embed_layer=partial(HybridEmbed, backbone=_stem(1))
    ),
    "distilled": partial(VisionTransformerDistilled, **SIZE),
    "EVA": partial(Eva, **SIZE, init_values=0.3),
    "EVA-02": partial(Eva, **SIZE, swiglu_mlp=True, use_rot_pos_emb=True, ref_feat_shape=(3, 3)),
    "EVA-02 with three projections": partial(
        Eva,
        **SIZE,
        global_pool="token",
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=True,
        use_rot_pos_emb=True,
    ),
    "EVA with norms behind": partial(Eva, **SIZE, global_pool="token", use_post_norm=True),
    "DINOv3": partial(
        Eva,
        **SIZE,
        qkv_bias=False,
        init_values=0.3,
        num_reg_tokens=2,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_rotate_half=True,
        rope_temperature=100,
    ),
    "DINOv3, class token": partial(
        Eva,
        **SIZE,
        global_pool="token",
        init_values=0.3,
        num_reg_tokens=2,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_rotate_half=True,
        dynamic_img_size=True,
    ),
    "Perception Encoder": partial(
        Eva,
        **SIZE,
        global_pool="map",
        attn_type="rope",
        use_pre_transformer_norm=True,
        use_rot_pos_emb=True,
        rope_grid_offset=1.0,
        rope_grid_indexing="xy",
        attn_pool_num_heads=2,
        attn_pool_mlp_ratio=2.0,
    ),
    "RoPE-ViT, mixed": partial(
        Eva, **SIZE, global_pool="token", attn_type="rope", use_rot_pos_emb=True, rope_type="mixed", init_values=0.2
    ),
    "Sapiens2": partial(
        Eva,
        **SIZE,
        global_pool="token",
        attn_type="rope",
        qkv_fused=False,
        num_kv_heads=1,
        qk_norm=True,
        norm_layer=RmsNorm,
        swiglu_mlp=True,
        init_values=0.3,
        attn_only_layer_scale=True,
        use_rot_pos_emb=True,
    ),
    "BEiT": partial(Beit, **SIZE, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.3),
    "BEiT with shared positions, class token": partial(
        Beit, **SIZE, global_pool="token", use_shared_rel_pos_bias=True, use_rel_pos_bias=True, scale_mlp=True
    ),
    "relative positions": partial(VisionTransformerRelPos, **SIZE, init_values=0.3),
    "relative positions, class token": partial(
        VisionTransformerRelPos, **SIZE, global_pool="token", class_token=True, rel_pos_type="bias", qk_norm=True
    ),
    "relative positions, norms behind": partial(
        VisionTransformerRelPos, **SIZE, block_fn=ResPostRelPosBlock, shared_rel_pos=True, fc_norm=True
    ),
}
"""Of the other forms and families."""

ARCHITECTURES = (*VARIANTS, *OTHERS)


def _takes(constructor: Callable[..., Any], option: str) -> bool:
    return option in inspect.signature(constructor).parameters


_GATED, _MIXED = (
    "timm before 1.0.28 has no gated attention",
    "timm before 1.0.31 computes these positions in float32 alone",
)
LACKING: dict[str, str] = {
    **(
        {}
        if _takes(Attention, "gated")
        else dict.fromkeys(("gated attention", "gated attention, average pooling"), _GATED)
    ),
    **({} if _takes(Eva, "num_kv_heads") else {"Sapiens2": "timm before 1.0.30 has no keys that several heads share"}),
    **(
        {}
        if _takes(EvaBlockPostNorm, "swiglu_align_to")
        else {"EVA with norms behind": "timm 1.0.20 cannot build these blocks: it misspells an option of theirs"}
    ),
    **(
        {"parallel blocks": "timm before 1.0.23 adds the bias of the MLP to other features"}
        if not _takes(ParallelScalingBlock, "fuse_out_proj")
        else {}
    ),
    **(
        {"no position": "timm before 1.0.26 leaves the class token out where there are no positions"}
        if leaves_prefix_out(VisionTransformer(**SIZE | VARIANTS["no position"]))
        else {}
    ),
    **({} if _takes(get_mixed_freqs, "dtype") else {"RoPE-ViT, mixed": _MIXED}),
}
"""What the installed timm has not got -> which one has. Tests skip it."""


def make_backbone(kind: str, *, seed: int = 0, **options: Any) -> Any:
    """A backbone of that kind in float64, every weight random, so that nothing is hidden by a zero or a one.

    `options` are timm's, such as `embed_dim`. What the installed timm has not got skips the test.
    """
    if kind in LACKING:
        pytest.skip(LACKING[kind])
    torch.manual_seed(seed)
    make = OTHERS.get(kind) or partial(VisionTransformer, **SIZE | VARIANTS[kind])
    backbone = make(**options).double()
    randomize(backbone)
    return backbone.eval()


def make_supernet(kind: str, *, largest: Subnet | None = None, seed: int = 0, **options: Any) -> Supernet:
    """A supernet over such a backbone, with random modules."""
    backbone = make_backbone(kind, seed=seed, **options)
    largest = largest or Subnet.uniform(len(backbone.blocks), prompt=4, lora=3, adapter=5)
    supernet = Supernet(backbone, largest)
    for name, parameter in supernet.named_parameters():
        if not name.startswith("backbone."):
            nn.init.normal_(parameter, std=0.5)
    return supernet.eval()


def randomize(module: nn.Module) -> None:
    """Move every parameter off its initial value."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)


def images_for(backbone: Any, count: int = 3) -> torch.Tensor:
    """Random normalized images of the backbone's size, float64."""
    return torch.randn(count, 3, *backbone.patch_embed.img_size, dtype=torch.float64)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())
