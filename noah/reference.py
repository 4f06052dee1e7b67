"""Reads weights of the published NOAH model code.

Its names, ours: `blocks.B.visual_prompt_token` (1, P, D) is the prompt; `blocks.B.attn.LoRA_a.weight` (R, D) and
`LoRA_b.weight` (3 D, R) are A and B; `blocks.B.adapter.ln1` is V and v, `ln2` is U and u. The top-level
`visual_prompt_token*` are dead: block 0's own prompt replaces those tokens before anything reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from noah.errors import CheckpointError
from noah.subnet import Subnet
from noah.supernet import Supernet

_DEAD = re.compile(r"^visual_prompt_token(_pos_embed)?$")
_MODULE_NAMES = {
    "visual_prompt_token": "prompts.{}.tokens",
    "attn.LoRA_a.weight": "loras.{}.a",
    "attn.LoRA_b.weight": "loras.{}.b",
    "adapter.ln1.weight": "adapters.{}.down",
    "adapter.ln1.bias": "adapters.{}.down_bias",
    "adapter.ln2.weight": "adapters.{}.up",
    "adapter.ln2.bias": "adapters.{}.up_bias",
}


def load_reference(weights: Mapping[str, Any], *, num_heads: int, patch_size: int, img_size: int) -> Supernet:
    """Build a supernet from the published code's weights, in their precision.

    Args:
        weights: Parameter name -> array or tensor.
        num_heads: Attention heads, which the weights do not tell.
        patch_size: Side of a patch in pixels.
        img_size: Side of the image in pixels.

    Raises:
        CheckpointError: If names or shapes do not fit the published model; they are named.
    """
    ours: dict[str, Tensor] = {}
    for name, array in weights.items():
        if not _DEAD.match(name):
            ours[our_name(name)] = torch.as_tensor(array)
    try:
        depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
        embed_dim = ours["backbone.pos_embed"].shape[-1]
        hidden = ours["backbone.blocks.0.mlp.fc1.weight"].shape[0]
        largest = Subnet(
            prompt=[_size(ours, f"prompts.{block}.tokens", 1) for block in range(depth)],
            lora=[_size(ours, f"loras.{block}.a", 0) for block in range(depth)],
            adapter=[_size(ours, f"adapters.{block}.down", 0) for block in range(depth)],
        )
        num_classes = ours["head.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"These are not weights of the published model: {error} is missing.",
            "Pass the model's own state dictionary (in a checkpoint file it lies under 'model').",
        ) from error
    backbone = VisionTransformer(
        img_size=img_size,
        patch_size=patch_size,
        num_classes=0,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=hidden / embed_dim,
    )
    supernet = Supernet(backbone, largest, num_classes=num_classes).to(ours["backbone.pos_embed"].dtype)
    ours = {name: value[0] if name.startswith("prompts.") else value for name, value in ours.items()}
    expected = {name: tuple(value.shape) for name, value in supernet.state_dict().items() if value.numel()}
    found = {name: tuple(value.shape) for name, value in ours.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{len(wrong)} of the weights do not fit the published model; the first is {name}: "
            f"found {found.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}",
            "Check num_heads, patch_size and img_size.",
        )
    supernet.load_state_dict(ours, strict=False)
    return supernet


def our_name(name: str) -> str:
    """The name of a published parameter in `Supernet.state_dict()`."""
    match = re.match(r"^blocks\.(\d+)\.(.+)$", name)
    if match and match[2] in _MODULE_NAMES:
        return _MODULE_NAMES[match[2]].format(match[1])
    return name if name.startswith("head.") else f"backbone.{name}"


def _size(weights: Mapping[str, Tensor], name: str, axis: int) -> int:
    return weights[name].shape[axis] if name in weights else 0
