"""Reads weights of the published NOAH model code, from a mapping or from one of its checkpoint files.

    supernet = load_reference(read_reference_checkpoint("checkpoint.pth"), num_heads=12)

Its training (Neural Prompt Search, Zhang, Zhou, Liu, 2022, arXiv 2206.04673) writes a checkpoint file as a pickled
mapping with the state dictionary under `model`, next to `optimizer`, `lr_scheduler`, `epoch`, `scaler` and `args`. It
includes the frozen backbone. `noah.backbone.load.load_backbone` reads the backbone alone, as its authors published it
(`.npz`) or with timm's names.

Its names correspond to ours as follows: `blocks.B.visual_prompt_token` (1, P, D) is the prompt;
`blocks.B.attn.LoRA_a.weight` (R, D) and `LoRA_b.weight` (3 D, R) are A and B; `blocks.B.adapter.ln1` is V and v, `ln2`
is U and u. The top-level `visual_prompt_token*` are dead: block 0's own prompt replaces those tokens before anything
reads them.
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

from noah.errors import CheckpointError, UsageError
from noah.files.plain_weights import load_plain
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

_DEAD = re.compile(r"visual_prompt_token(_pos_embed)?")
_IN_BLOCK = re.compile(r"blocks\.(0|[1-9][0-9]{0,17})\.(.+)")
_MODULE_NAMES = {
    "visual_prompt_token": "prompts.{}.tokens",
    "attn.LoRA_a.weight": "loras.{}.a",
    "attn.LoRA_b.weight": "loras.{}.b",
    "adapter.ln1.weight": "adapters.{}.down",
    "adapter.ln1.bias": "adapters.{}.down_bias",
    "adapter.ln2.weight": "adapters.{}.up",
    "adapter.ln2.bias": "adapters.{}.up_bias",
}
_OWN_STATE = "Pass the model's own state dictionary (in a checkpoint file it lies under 'model')."


class _NumPyValue:
    """A stand-in for a NumPy scalar or its type in a file, which ignores its value.

    Training options may be NumPy scalars. Nobody reads them, so no NumPy function is called to rebuild them.
    """

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


_ALLOWED: list[Any] = [
    argparse.Namespace,
    (_NumPyValue, "numpy.dtype"),
    (_NumPyValue, "numpy._core.multiarray.scalar"),
    (_NumPyValue, "numpy.core.multiarray.scalar"),  # as NumPy 1 calls it
    (_NumPyValue, "builtins.bytes"),  # the value of an empty text; torch itself allows other values
]
"""What a file may ask for besides tensors and plain values; stand-ins are paired with the names they replace."""


def read_reference_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """Read the state dictionary from a checkpoint file of the published code, onto the CPU.

    No code in the file runs: torch's weights-only reader builds only tensors and plain values, and here also
    `argparse.Namespace`, which the published training stores and which only holds attributes. NumPy scalars are
    ignored.

    Args:
        path: The file, such as `checkpoint.pth`.

    Returns:
        The tensors by their published names, for `load_reference`.

    Raises:
        CheckpointError: If the file is missing or damaged, asks for any other object, or holds no weights under
            `model`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"The checkpoint {path} does not exist.", "Check the path.")
    try:
        content = load_plain(path, _ALLOWED)
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
            f"What {path} holds under 'model' is not a state dictionary.",
            "Save it with torch.save({'model': model.state_dict()}, path).",
        )
    return state


def load_reference(
    weights: Mapping[str, Any], *, num_heads: int, patch_size: int | None = None, img_size: int | None = None
) -> Supernet:
    """Build a supernet from the published code's weights, in their precision.

    Args:
        weights: Arrays or tensors by their published names.
        num_heads: The number of attention heads, which the weights do not reveal; ViT-B/16 has 12.
        patch_size: Side of a patch in pixels; None takes it from the patch embedding.
        img_size: Side of the image in pixels; None takes it from the position embedding, whose grid has to be square.

    Raises:
        CheckpointError: If names, values or shapes do not fit the published model; it says which.
        UsageError: If `patch_size` or `img_size` is below 1.
    """
    for option, side in (("patch_size", patch_size), ("img_size", img_size)):
        if side is not None and side < 1:
            raise UsageError(
                f"{option} is {side}, and a side has at least 1 pixel.",
                f"Give the pixels of a side, or leave {option} out to read it off the weights.",
            )
    theirs = {name: _weight(name, value) for name, value in weights.items() if not _is_dead(name)}
    depth = _depth(theirs)
    embed_dim = _length(theirs, "pos_embed", "1 1+patches D", "D")
    hidden = _length(theirs, "blocks.0.mlp.fc1.weight", "hidden D", "hidden")
    largest = Subnet(
        prompt=[_width(theirs, f"blocks.{block}.visual_prompt_token", "1 P D", "P") for block in range(depth)],
        lora=[_width(theirs, f"blocks.{block}.attn.LoRA_a.weight", "R D", "R") for block in range(depth)],
        adapter=[_width(theirs, f"blocks.{block}.adapter.ln1.weight", "A D", "A") for block in range(depth)],
    )
    num_classes = _length(theirs, "head.weight", "classes D", "classes")
    if patch_size is None:
        patch_size = _patch_size(_present(theirs, "patch_embed.proj.weight"))
    if img_size is None:
        img_size = patch_size * _grid_side(theirs["pos_embed"])
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
    supernet = Supernet(backbone, largest, num_classes=num_classes).to(theirs["pos_embed"].dtype)
    ours = {our_name(name): value for name, value in theirs.items()}
    ours = {name: value[0] if name.startswith("prompts.") else value for name, value in ours.items()}
    expected = {name: tuple(value.shape) for name, value in supernet.state_dict().items() if value.numel()}
    found = {name: tuple(value.shape) for name, value in ours.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"{len(wrong)} of the weights do not fit the published model; the first is {name}: "
            f"found {found.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}.",
            "Check num_heads, patch_size and img_size.",
        )
    supernet.load_state_dict(ours, strict=False)
    return supernet


def our_name(name: str) -> str:
    """The name of a published parameter in `Supernet.state_dict()`."""
    match = _IN_BLOCK.fullmatch(name)
    if match and match[2] in _MODULE_NAMES:
        return _MODULE_NAMES[match[2]].format(match[1])
    return name if name.startswith("head.") else f"backbone.{name}"


def _patch_size(kernel: Tensor) -> int:
    """The side of a patch in pixels, from the patch embedding (D, 3, P, P)."""
    if kernel.dim() != 4 or kernel.shape[2] != kernel.shape[3] or not kernel.shape[2]:
        raise CheckpointError(
            f"The patch embedding has the shape {tuple(kernel.shape)}, which is not that of square patches.",
            "Give patch_size.",
        )
    return kernel.shape[3]


def _grid_side(positions: Tensor) -> int:
    """The number of patches along a side of the image, from the position embedding (1, 1 + patches, D)."""
    patches = positions.shape[1] - 1
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise CheckpointError(
            f"The position embedding has {patches} patches, which do not make a square grid.", "Give img_size."
        )
    return side


def _refusal(error: Exception) -> str:
    """Say in one line why a file was refused; if torch names the object that it asks for, so does this line."""
    if match := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {match[1][:100]!a}, which could run code"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds other Python objects than tensors, which could run code"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


def _is_dead(name: object) -> bool:
    return isinstance(name, str) and _DEAD.fullmatch(name) is not None


def _weight(name: object, value: Any) -> Tensor:
    """Convert a value to a tensor; refuse a name that no weight can have, and numbers that are not floating-point."""
    if not isinstance(name, str):
        raise CheckpointError(f"{ascii(name)[:100]} is not the name of a weight.", _OWN_STATE)
    if name.startswith("blocks.") and not _IN_BLOCK.fullmatch(name):
        raise CheckpointError(f"{name[:100]!a} is not of the form 'blocks.NUMBER.NAME'.", _OWN_STATE)
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        kind = f"{type(value).__name__} of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        raise CheckpointError(f"{name!a} holds {kind}, not floating-point numbers.", _OWN_STATE) from error
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{name!a} holds {kind}, not floating-point numbers.", _OWN_STATE)
    return tensor


def _depth(weights: Mapping[str, Tensor]) -> int:
    """The number of blocks, none of which may be missing."""
    blocks = {int(match[1]) for name in weights if (match := _IN_BLOCK.fullmatch(name))}
    depth = len(blocks)
    if missing := sorted(set(range(depth or 1)) - blocks):
        raise _missing(f"blocks.{missing[0]}")
    return depth


def _width(weights: Mapping[str, Tensor], name: str, form: str, axis: str) -> int:
    """The width of a module, from the shape of its weight; 0 if it is absent."""
    return _length(weights, name, form, axis) if name in weights else 0


def _length(weights: Mapping[str, Tensor], name: str, form: str, axis: str) -> int:
    """The length of a weight's axis in a form such as "1 P D"; the shape must match, and axes named 1 have length 1."""
    shape, axes = tuple(_present(weights, name).shape), form.split()
    alike = len(shape) == len(axes) and all(length == 1 for length, of in zip(shape, axes, strict=True) if of == "1")
    if not alike or not shape[axes.index(axis)]:
        raise CheckpointError(
            f"{name!a} has the shape {shape}; the published model has ({', '.join(axes)}) there.", _OWN_STATE
        )
    return shape[axes.index(axis)]


def _present(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise _missing(name)
    return weights[name]


def _missing(name: str) -> CheckpointError:
    return CheckpointError(f"These are not weights of the published model: {name!a} is missing.", _OWN_STATE)
