"""Reads weights of the published NOAH model code, from a mapping or from one of its checkpoint files.

    supernet = load_reference(read_reference_checkpoint("checkpoint.pth"), num_heads=12)

A checkpoint file is what its training writes (Neural Prompt Search, Zhang, Zhou, Liu, 2022, arXiv 2206.04673): a
pickled mapping with the state dictionary under `model`, beside `optimizer`, `lr_scheduler`, `epoch`, `scaler` and
`args`. It holds the frozen backbone too. The backbone alone, as its authors published it (`.npz`) or in timm's names,
is read by `noah.backbones.load_backbone`.

Its names, ours: `blocks.B.visual_prompt_token` (1, P, D) is the prompt; `blocks.B.attn.LoRA_a.weight` (R, D) and
`LoRA_b.weight` (3 D, R) are A and B; `blocks.B.adapter.ln1` is V and v, `ln2` is U and u. The top-level
`visual_prompt_token*` are dead: block 0's own prompt replaces those tokens before anything reads them.
"""

from __future__ import annotations

import argparse
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
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


def read_reference_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The state dictionary in a checkpoint file of the published code, on the CPU.

    No code in the file runs: torch's weights-only reader builds nothing but tensors and plain values, and here also
    `argparse.Namespace`, which the published training stores and which only takes attributes.

    Args:
        path: The file, such as `checkpoint.pth`.

    Returns:
        Published parameter name -> tensor, for `load_reference`.

    Raises:
        CheckpointError: If the file is missing or damaged, asks for any other object, or holds no weights under
            `model`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} does not exist.", "Check the path.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Readers of damaged or hostile files raise many kinds of error; each means the same to the user.
        raise CheckpointError(
            f"{path} cannot be read as plain weights: {_refusal(error)}.",
            "Save it again where it came from, with torch.save({'model': model.state_dict()}, path).",
        ) from error
    if not isinstance(content, dict) or "model" not in content:
        found = ", ".join(map(ascii, list(content)[:3])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} has no weights under 'model'; it holds {found[:100] or 'nothing'}.",
            "A bare state dictionary goes to load_reference as it is, read by torch.load(path, weights_only=True).",
        )
    state = content["model"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError(
            f"What {path} holds under 'model' is no state dictionary.",
            "Save it with torch.save({'model': model.state_dict()}, path).",
        )
    return state


def load_reference(
    weights: Mapping[str, Any], *, num_heads: int, patch_size: int | None = None, img_size: int | None = None
) -> Supernet:
    """Build a supernet from the published code's weights, in their precision.

    Args:
        weights: Parameter name -> array or tensor.
        num_heads: Attention heads, which the weights do not tell; ViT-B/16 has 12.
        patch_size: Side of a patch in pixels; None reads it off the patch embedding.
        img_size: Side of the image in pixels; None reads it off the position embedding, whose grid has to be square.

    Raises:
        CheckpointError: If names or shapes do not fit the published model; they are named.
    """
    ours: dict[str, Tensor] = {}
    for name, array in weights.items():
        if not _DEAD.match(name):
            ours[our_name(name)] = torch.as_tensor(array)
    try:
        blocks = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
        depth = len(blocks)
        if missing := sorted(set(range(depth or 1)) - blocks):
            raise KeyError(f"blocks.{missing[0]}")
        embed_dim = ours["backbone.pos_embed"].shape[-1]
        hidden = ours["backbone.blocks.0.mlp.fc1.weight"].shape[0]
        largest = Subnet(
            prompt=[_size(ours, f"prompts.{block}.tokens", 1) for block in range(depth)],
            lora=[_size(ours, f"loras.{block}.a", 0) for block in range(depth)],
            adapter=[_size(ours, f"adapters.{block}.down", 0) for block in range(depth)],
        )
        num_classes = ours["head.weight"].shape[0]
        patch_size = patch_size or _patch_size(ours["backbone.patch_embed.proj.weight"])
        img_size = img_size or patch_size * _grid_side(ours["backbone.pos_embed"])
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"These are not weights of the published model: {error} is missing.",
            "Pass the model's own state dictionary (in a checkpoint file it lies under 'model').",
        ) from error
    if num_heads < 1 or embed_dim % num_heads:
        raise CheckpointError(
            f"The weights have the width {embed_dim}, which {num_heads} heads do not divide.", "Check num_heads."
        )
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


def _patch_size(kernel: Tensor) -> int:
    """Side of a patch in pixels, from the patch embedding (D, 3, P, P)."""
    if kernel.dim() != 4 or kernel.shape[2] != kernel.shape[3] or not kernel.shape[2]:
        raise CheckpointError(
            f"The patch embedding has the shape {tuple(kernel.shape)}, which tells no side of a square patch.",
            "Give patch_size.",
        )
    return kernel.shape[3]


def _grid_side(positions: Tensor) -> int:
    """Patches along a side of the image, from the position embedding (1, 1 + patches, D)."""
    patches = positions.shape[1] - 1
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise CheckpointError(
            f"The position embedding has {patches} patches, which make no square grid.", "Give img_size."
        )
    return side


def _refusal(error: Exception) -> str:
    """Why a file was refused, in one line; the object that it asks for is named where torch names it."""
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {match[1][:100]!a}, which could run code"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds other Python objects than tensors, which could run code"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _size(weights: Mapping[str, Tensor], name: str, axis: int) -> int:
    return weights[name].shape[axis] if name in weights else 0
