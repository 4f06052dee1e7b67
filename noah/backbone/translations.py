"""The names that others give the weights of vision transformers, in timm's words.

A `Translation` is a value; whoever adds a family adds one to `TRANSLATIONS`. For Hugging Face's `transformers` the
names are those of the files on the hub, and those of `state_dict()` since version 5, which renames while it loads and
saves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]
"""Weights by name."""

_BLOCK = r"^(?:model\.|encoder\.)?layers?\.(\d+)\."
_ATTENTION = (
    (r"^blocks\.(\d+)\.attention\.(?:attention\.)?(q)(?:uery|_proj)\.", r"blocks.\1.attn.\2."),
    (r"^blocks\.(\d+)\.attention\.(?:attention\.)?(k)(?:ey|_proj)\.", r"blocks.\1.attn.\2."),
    (r"^blocks\.(\d+)\.attention\.(?:attention\.)?(v)(?:alue|_proj)\.", r"blocks.\1.attn.\2."),
    (r"^blocks\.(\d+)\.attention\.(?:output\.dense|o_proj)\.", r"blocks.\1.attn.proj."),
)


@dataclass(frozen=True, slots=True)
class Translation:
    """How a family of models names its weights.

    Args:
        family: Whose names they are, for messages.
        anchor: The name of a weight that every model of the family has; what stands before it in a file is a prefix.
        marks: Parts of names that tell the family from others with the same anchor; each has to be in some name.
        renames: Patterns and what they become, applied in this order to every name.
        finish: What else has to be done to weights that are not only named differently.
    """

    family: str
    anchor: str
    marks: tuple[str, ...]
    renames: tuple[tuple[str, str], ...]
    finish: Callable[[State], State]

    def matches(self, names: Sequence[str]) -> bool:
        """Whether weights of these names, without a prefix, are of this family."""
        return self.anchor in names and all(any(mark in name for name in names) for mark in self.marks)

    def __call__(self, state: Mapping[str, Tensor]) -> State:
        """Rename and rearrange weights of the family to those of timm.

        Args:
            state: The weights, without a prefix.

        Raises:
            ValueError: If weights that belong together do not fit each other.
        """
        named: State = {}
        for name, value in state.items():
            for pattern, replacement in self.renames:
                name = re.sub(pattern, replacement, name)  # each pattern goes on with the last
            if name in named:
                raise ValueError(f"two weights stand for {name}")
            named[name] = value
        return self.finish(named)


def _joined(state: State) -> State:
    """Put the projections of queries, keys and values, `attn.q`, `attn.k` and `attn.v`, together as timm's `attn.qkv`.

    Where queries and values have a bias and keys have none, as in DINOv3, the biases stay apart, as in timm's `Eva`.
    """
    result = dict(state)
    for place in {name.removesuffix("q.weight") for name in state if name.endswith(".attn.q.weight")}:
        for kind in ("weight", "bias"):
            parts = {part: result.pop(f"{place}{part}.{kind}", None) for part in "qkv"}
            given = {part: value for part, value in parts.items() if value is not None}
            if given.keys() == set("qkv"):
                result[f"{place}qkv.{kind}"] = torch.cat([given[part] for part in "qkv"])
            elif kind == "bias" and given.keys() == set("qv"):
                result |= {f"{place}{part}_bias": value for part, value in given.items()}
            elif given:
                raise ValueError(f"of queries, keys and values, {place}{kind} has only {', '.join(given)}")
    return result


def _finish_dinov2(state: State) -> State:
    """Join the halves of a gated MLP; with registers, positions are added to the class token once and for all."""
    result = _joined(state)
    for name in [name for name in result if ".mlp.gate_proj." in name]:
        halves = (result.pop(name), result.pop(name.replace("gate_proj", "up_proj")))
        result[name.replace("gate_proj", "fc1")] = torch.cat(halves)
    if "reg_token" in result:
        result["cls_token"] = result["cls_token"] + result["pos_embed"][:, :1]
        result["pos_embed"] = result["pos_embed"][:, 1:]
    return result


def _finish_dinov3(state: State) -> State:
    """Name the two halves of a gated MLP, or the one layer of a plain one; there may be no register at all."""
    gated = any(".mlp.gate_proj." in name for name in state)
    result = {
        name.replace(".mlp.gate_proj.", ".mlp.fc1_g.").replace(
            ".mlp.up_proj.", ".mlp.fc1_x." if gated else ".mlp.fc1."
        ): (value)
        for name, value in _joined(state).items()
    }
    if "reg_token" in result and not result["reg_token"].numel():
        del result["reg_token"]
    return result


def _finish_clip(state: State) -> State:
    """Give class token and positions timm's axes, and take the pooling by attention apart.

    Earlier versions of `transformers` have saved the numbers of the positions, too.
    """
    result = _joined(state)
    result.pop("embeddings.position_ids", None)
    if "cls_token" in result:
        result["cls_token"] = result["cls_token"].reshape(1, 1, -1)
    result["pos_embed"] = result["pos_embed"].unsqueeze(0)
    for kind in ("weight", "bias"):
        whole = result.pop(f"attn_pool.attention.in_proj_{kind}", None)
        if whole is not None:
            third = len(whole) // 3
            result |= {f"attn_pool.q.{kind}": whole[:third], f"attn_pool.kv.{kind}": whole[third:]}
    return result


_EMBEDDINGS = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.mask_token$", "mask_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.(?:projection\.)?", "patch_embed.proj."),
    (_BLOCK, r"blocks.\1."),
)
_CLIP = (
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
    (_BLOCK, r"blocks.\1."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.(mlp|attention)\.", r"attn_pool.\1."),
)
_POSITIONED = "embeddings.patch_embeddings.projection.weight"

TRANSLATIONS: tuple[Translation, ...] = (
    Translation(
        "Hugging Face's ViT",
        _POSITIONED,
        ("layernorm_before",),
        (
            *_EMBEDDINGS,
            *_ATTENTION,
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"^(blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
            (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
            (r"^layernorm\.", "norm."),
        ),
        _joined,
    ),
    Translation(
        "Hugging Face's DINOv2",
        _POSITIONED,
        ("layer_scale1.lambda1",),
        (
            *_EMBEDDINGS,
            *_ATTENTION,
            (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
            (r"\.mlp\.weights_in\.", ".mlp.fc1."),
            (r"\.mlp\.(?:weights_out|down_proj)\.", ".mlp.fc2."),
            (r"^layernorm\.", "norm."),
        ),
        _finish_dinov2,
    ),
    Translation(
        "Hugging Face's DINOv3",
        "embeddings.patch_embeddings.weight",
        ("layer_scale1.lambda1",),
        (
            *_EMBEDDINGS,
            *_ATTENTION,
            (r"\.layer_scale([12])\.lambda1$", r".gamma_\1"),
            (r"\.mlp\.down_proj\.", ".mlp.fc2."),
        ),
        _finish_dinov3,
    ),
    Translation("Hugging Face's CLIP", "embeddings.patch_embedding.weight", ("pre_layrnorm",), _CLIP, _finish_clip),
    Translation(
        "OpenAI's CLIP",
        "class_embedding",
        ("conv1.weight", "transformer.resblocks."),
        (
            (r"^class_embedding$", "cls_token"),
            (r"^positional_embedding$", "pos_embed"),
            (r"^conv1\.", "patch_embed.proj."),
            (r"^ln_pre\.", "norm_pre."),
            (r"^ln_post\.", "norm."),
            (r"^proj$", "head.weight"),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.attn\.in_proj_", ".attn.qkv."),
            (r"\.attn\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.c_fc\.", ".mlp.fc1."),
            (r"\.mlp\.c_proj\.", ".mlp.fc2."),
        ),
        _finish_clip,
    ),
    Translation(
        "Hugging Face's SigLIP",
        "embeddings.patch_embedding.weight",
        ("embeddings.position_embedding",),
        _CLIP,
        _finish_clip,
    ),
)
"""Tried in this order."""
