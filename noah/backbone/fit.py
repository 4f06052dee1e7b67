"""Fits the weights of a file into a backbone: every weight has to be there, and to have its place and shape.

timm's own loading would leave what is missing at its random values and ignore what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from noah.backbone.architecture import Architecture
from noah.backbone.families.registry import converted
from noah.backbone.jax_checkpoint import LARGEST_GRID
from noah.backbone.unwrap import spell_counts
from noah.backbone.weights_file import first_line
from noah.errors import CheckpointError

_OPTIONAL = ("attn_pool.", "fc_norm.", "mask_token")
"""Parts that a file may have and an architecture with another pooling has not."""
_ZERO_BIASES = (".attn.q_bias", ".attn.k_bias", ".attn.v_bias", ".attn.qkv.bias")
"""Biases that some files hold as zeros (DINOv3), and the architecture leaves out."""


def fit(
    model: nn.Module, architecture: Architecture, state: Mapping[str, Tensor], name: str, told: str = "", hint: str = ""
) -> str:
    """Load weights into a backbone without a head; position embeddings are resampled to its image size.

    Args:
        model: Gets the weights.
        architecture: What it is, for timm's translation of files by the architecture's authors.
        state: The weights by timm's names, or by those that timm translates.
        name: The file or backbone, for errors.
        told: What was done to the file before, for errors.
        hint: What to do if the weights do not fit; None tells to check --backbone-arch.

    Returns:
        What was resampled and left out, as parts of a sentence; empty if nothing was.

    Raises:
        CheckpointError: If they do not fit; it says which weights are missing, unknown or of another shape.
    """
    expected = model.state_dict()
    patch = state.get("patch_embed.proj.weight")
    _check_positions(model, state, name)
    state, steps = _without_mask(state, expected)
    before = {key: tuple(value.shape) for key, value in state.items()}
    try:
        state = converted(state, model)
    except Exception as error:  # timm does not catch what a tensor of an unexpected shape raises
        raise CheckpointError(
            f"{name} does not fit the backbone {architecture}: {first_line(error)}{_after(told)}",
            hint or "Check --backbone-arch.",
        ) from error
    if patch is not None and patch.dim() == 4:
        state = {**state, "patch_embed.proj.weight": patch}  # timm resamples it if the patch size differs
    state, left = _without_superfluous(state, expected)
    steps += left
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    misshapen = sorted(key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape)
    if missing or unknown or misshapen:
        raise CheckpointError(
            f"{name} does not fit the backbone {architecture}: "
            + "; ".join(
                f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
                for kind, keys in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
                if keys
            )
            + _after(told),
            hint or "Check --backbone-arch: it has to be the architecture that the file was trained with.",
        )
    model.load_state_dict(state)
    steps += [
        f"resampled {key} from {_spell(before[key])} to {_spell(tuple(value.shape))}"
        for key, value in state.items()
        if key in before and before[key] != tuple(value.shape)
    ]
    return "; ".join(steps)


def _check_positions(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Refuse position embeddings of a size that nobody trains, because resampling them would fill the memory."""
    positions = state.get("pos_embed")
    if positions is not None and positions.numel() > (LARGEST_GRID**2 + 8) * cast(Any, model).embed_dim:
        raise CheckpointError(
            f"{name} does not fit the backbone: its position embedding is of {tuple(positions.shape)}, more than a "
            f"grid of {LARGEST_GRID} x {LARGEST_GRID} patches.",
            "Check --backbone-arch.",
        )


def _without_mask(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[Mapping[str, Tensor], list[str]]:
    """Leave out the token of masked patches, and say so; timm takes it for a sign of whose file this is.

    DINOv2's own files need that sign if they have registers or a gated MLP, and EVA's if the last norm follows pooling.
    """
    signs = ("register_tokens", *(key for key in state if ".mlp.w12." in key))
    if "mask_token" not in state or any(key in state for key in signs) or "norm.weight" not in expected:
        return state, []
    return {key: value for key, value in state.items() if key != "mask_token"}, ["left out mask_token"]


def _without_superfluous(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out what the architecture does without, and say so."""
    unknown = [key for key in state if key not in expected]
    other = [key for key in unknown if key.startswith(_OPTIONAL)]
    zeros = [key for key in unknown if key.endswith(_ZERO_BIASES) and not torch.any(state[key])]
    steps = []
    if other:
        counts: dict[str, int] = {}
        for key in other:
            word = key.split(".")[0]
            counts[word] = counts.get(word, 0) + 1
        steps.append(f"left out {spell_counts(counts)}, which this architecture does not have")
    if zeros:
        steps.append("left out biases of queries, keys and values, which are all zero")
    dropped = {*other, *zeros}
    return {key: value for key, value in state.items() if key not in dropped}, steps


def _after(told: str) -> str:
    return f". This was done to the file: {told}." if told else ""


def _spell(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
