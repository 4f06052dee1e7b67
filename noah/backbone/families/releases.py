"""What timm's releases since the oldest that is allowed name differently, or lack: everything above reads it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import LayerScale, resize_rel_pos_bias_table
from timm.models import _helpers, vision_transformer, vision_transformer_relpos
from torch import Tensor, nn

_BIAS_TABLE = "relative_position_bias_table"

READS_BARE_ARRAYS = hasattr(_helpers, "_load_npz_checkpoint")
"""Whether `load_pretrained` knows big_vision's names of arrays without a prefix before them, as since timm 1.0.29."""

LAYER_SCALES: tuple[Any, ...] = (
    LayerScale,
    *(
        module.LayerScale
        for module in (vision_transformer, vision_transformer_relpos)
        if getattr(module, "LayerScale", LayerScale) is not LayerScale
    ),
)
"""The classes of a residual scale, which until timm 1.0.20 each module had of its own."""


def gate_of(attention: Any) -> nn.Linear | None:
    """The layer that gates what attention gives; None without one, as in every attention before timm 1.0.28."""
    gate: nn.Linear | None = getattr(attention, "gate", None)
    return gate


def shares_output_projection(block: Any) -> bool:
    """Whether a parallel block has one output projection for attention and MLP, as none has before timm 1.0.23."""
    return getattr(block, "out_proj", None) is not None


def misplaces_mlp_bias(block: Any) -> bool:
    """Whether timm adds the MLP's bias of a parallel block to other features, as it does before 1.0.23."""
    return getattr(block, "mlp_bias", None) is not None and not hasattr(block, "out_proj")


def leaves_prefix_out(backbone: Any) -> bool:
    """Whether timm itself leaves out class token and registers, as before 1.0.26 where no positions are added."""
    if backbone.pos_embed is not None or not backbone.num_prefix_tokens:
        return False
    patches: Tensor = next(backbone.parameters()).new_zeros(1, backbone.patch_embed.num_patches, backbone.embed_dim)
    tokens: Tensor = backbone._pos_embed(patches)
    return tokens.shape == patches.shape


def resample_relative_positions(state: Mapping[str, Tensor], backbone: Any) -> Mapping[str, Tensor]:
    """A checkpoint's weights for a `VisionTransformerRelPos`, with tables of relative positions resampled to its grid.

    timm 1.0.31 has a filter that does so; earlier releases refuse weights of another image size.
    """
    timm_filter = getattr(vision_transformer_relpos, "checkpoint_filter_fn", None)
    if timm_filter is not None:
        found: Mapping[str, Tensor] = timm_filter(dict(state), backbone)
        return found
    return {name: _resampled_table(name, value, backbone) for name, value in state.items()}


def _resampled_table(name: str, value: Tensor, backbone: Any) -> Tensor:
    place, _, last = name.rpartition(".")
    if last != _BIAS_TABLE:
        return value
    positions = backbone.get_submodule(place)
    shape, (rows, columns) = positions.relative_position_bias_table.shape, positions.window_size
    if value.shape == shape and rows == columns:
        return value
    table: Tensor = resize_rel_pos_bias_table(value, new_window_size=positions.window_size, new_bias_shape=shape)
    return table
