"""Small backbones of every kind that the method covers, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import RmsNorm, SwiGLU
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

SIZE = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 4, "num_heads": 3, "num_classes": 7}

ARCHITECTURES: dict[str, dict[str, Any]] = {
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


def make_backbone(kind: str, *, seed: int = 0) -> VisionTransformer:
    """A backbone of that kind in float64, every weight random, so that nothing is hidden by a zero or a one."""
    torch.manual_seed(seed)
    backbone = VisionTransformer(**{**SIZE, **ARCHITECTURES[kind]}).double()
    randomize(backbone)
    return backbone.eval()


def make_supernet(kind: str, *, largest: Subnet | None = None, seed: int = 0) -> Supernet:
    """A supernet over such a backbone, with random modules."""
    backbone = make_backbone(kind, seed=seed)
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
