"""The names that timm's vision transformers of all families share."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from timm.layers import AttentionPoolLatent, GluMlp, Mlp, PatchEmbed, SwiGLU
from torch import Tensor, nn

from noah.backbone.families.releases import LAYER_SCALES
from noah.backbone.layers import linear
from noah.backbone.normalization import Normalization, fold_normalization, takes_normalization
from noah.backbone.view import (
    FC2,
    GATE,
    PROJ,
    QKV,
    AttentionView,
    BlockView,
    MlpView,
    NetworkView,
    PoolingParts,
    PoolingView,
    Readers,
)


class VisionNetwork(NetworkView):
    """A network with `patch_embed`, `blocks`, `norm`, `fc_norm` and `head`, as timm names them.

    Args:
        backbone: timm's network.
    """

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.backbone.blocks)

    @property
    def embed_dim(self) -> int:
        """Width D of the tokens."""
        return int(self.backbone.embed_dim)

    @property
    def prefix(self) -> int:
        """Number of class, distillation and register tokens, which come first."""
        return int(self.backbone.num_prefix_tokens)

    @property
    def patches(self) -> int:
        """Number of patch tokens."""
        return int(self.backbone.patch_embed.num_patches)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        height, width = self.backbone.patch_embed.img_size
        return int(height), int(width)

    @property
    def stride(self) -> tuple[int, int]:
        """Height and width in pixels that one patch token stands for."""
        height, width = self.backbone.patch_embed.feat_ratio(as_scalar=False)
        return int(height), int(width)

    @property
    def weight(self) -> Tensor:
        """Some weight, for its type and device."""
        weight: Tensor = next(self.backbone.blocks.parameters())
        return weight

    @property
    def patch_dim(self) -> int:
        """Inputs of the patch embedding: channels x height x width of a patch."""
        return int(self.backbone.patch_embed.proj.weight[0].numel())

    @property
    def stem(self) -> nn.Module:
        """The convolution that embeds patches."""
        stem: nn.Module = self.backbone.patch_embed.proj
        return stem

    def stem_of_pixels(self, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        """The stem for pixels in 0..255, their normalization folded in, or else a step before it."""
        stem = self.stem
        if isinstance(stem, nn.Conv2d) and takes_normalization(stem):
            return fold_normalization(stem, mean, std)
        return nn.Sequential(Normalization(mean, std, self.weight), stem)

    @property
    def patch_norm(self) -> nn.Module:
        """Norm of the patches, before positions are added."""
        norm: nn.Module = self.backbone.patch_embed.norm
        return norm

    @property
    def norm_pre(self) -> nn.Module:
        """Norm of the first block's input."""
        norm: nn.Module = self.backbone.norm_pre
        return norm

    def embed(self, images: Tensor) -> Tensor:
        """The tokens (B, N, D) before the first block, of normalized images (B, 3, H, W)."""
        tokens: Tensor = self.norm_pre(self.placed(self.backbone.patch_embed(images)))
        return tokens

    def positions(self) -> Tensor:
        """What is added to the tokens of every image, (1, N, D)."""
        # For all-zero patches, the position embedding gives just the constants that it adds.
        grid = self.backbone.patch_embed.grid_size
        any_size = getattr(self.backbone, "dynamic_img_size", False)
        shape = (1, *grid, self.embed_dim) if any_size else (1, self.patches, self.embed_dim)
        return self.placed(self.weight.new_zeros(shape))

    def placed(self, patches: Tensor) -> Tensor:
        """Embedded patches, as `patch_embed` gives them, with prefix tokens before them and positions added."""
        tokens: Tensor = self.backbone._pos_embed(patches)
        return tokens

    @abstractmethod
    def block(self, index: int) -> BlockView:
        """One block."""

    @property
    def readers(self) -> Readers:
        """Which tokens are read behind the last block."""
        return Readers.CLASS if self.backbone.global_pool == "token" else Readers.PATCHES

    @property
    def norm(self) -> nn.Module:
        """Norm of the tokens that are read, before they are pooled."""
        norm: nn.Module = self.backbone.norm
        return norm

    @property
    def fc_norm(self) -> nn.Module:
        """Norm of what is pooled."""
        norm: nn.Module = self.backbone.fc_norm
        return norm

    @property
    def pooling(self) -> PoolingView:
        """How the tokens that are read become features of the image."""
        if self.backbone.global_pool == "map":
            return attention_pooling(self.backbone.attn_pool)
        return PoolingView("first" if self.backbone.global_pool == "token" else "mean")

    def own_head(self) -> nn.Linear | None:
        """A copy of the backbone's own head on pooled features; None if it has none."""
        head = self.backbone.head
        return copy.deepcopy(head) if isinstance(head, nn.Linear) else None

    def state_of_block(self, index: int, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
        """Linear layers of a block as the backbone's state holds them; a name that it lacks holds what has no place."""
        state: dict[str, Tensor] = {}
        for name, layer in layers.items():
            place = f"blocks.{index}.{'attn' if name in (QKV, GATE, PROJ) else 'mlp'}.{name}"
            state |= state_of_layer(place, layer)
        return state

    def state_of_head(self, head: nn.Linear) -> dict[str, Tensor]:
        """A head on pooled features as the backbone's state holds it."""
        return state_of_layer("head", head)

    def without_scales(self) -> nn.Module:
        """A copy of the backbone without LayerScale, which shares its weights."""
        shared = {id(parameter): parameter for parameter in self.backbone.parameters()}
        bare: Any = copy.deepcopy(self.backbone, shared)
        for block in bare.blocks:
            for name in ("ls", "ls1", "ls2"):
                if isinstance(getattr(block, name, None), LAYER_SCALES):
                    setattr(block, name, nn.Identity())
            for name in ("gamma_1", "gamma_2"):
                if getattr(block, name, None) is not None:
                    setattr(block, name, None)
        module: nn.Module = bare
        return module


def state_of_layer(place: str, layer: nn.Linear) -> dict[str, Tensor]:
    """Weight and bias of a layer under its name in a state."""
    state: dict[str, Tensor] = {f"{place}.weight": layer.weight}
    return state if layer.bias is None else state | {f"{place}.bias": layer.bias}


def scale_of(scale: Any) -> Tensor | None:
    """The factors of a LayerScale; None of an identity."""
    return scale.gamma if isinstance(scale, LAYER_SCALES) else None


def mlp_layers(mlp: Any) -> dict[str, nn.Linear]:
    """The linear layers of timm's `Mlp`, `GluMlp` or `SwiGLU`, the last one last."""
    inputs = ("fc1_g", "fc1_x") if isinstance(mlp, SwiGLU) else ("fc1",)
    return {name: getattr(mlp, name) for name in (*inputs, FC2)}


def mlp_view(mlp: Any) -> MlpView:
    """How timm's `Mlp`, `GluMlp` or `SwiGLU` bends; in evaluation mode, as it is frozen."""
    gated: Literal["first", "last"] | None = None
    if isinstance(mlp, SwiGLU):
        gated = "first"
    elif isinstance(mlp, GluMlp):
        gated = "last" if mlp.gate_last else "first"
    return MlpView(tuple(mlp_layers(mlp))[:-1], mlp.act, gated, mlp.norm)


def attention_pooling(pool: AttentionPoolLatent) -> PoolingView:
    """Timm's pooling by one latent query."""
    attention = AttentionView(pool.num_heads, pool.num_heads, pool.scale, pool.q_norm, pool.k_norm, nn.Identity())
    keys, values = pool.kv.weight.chunk(2)
    key_bias, value_bias = (None, None) if pool.kv.bias is None else pool.kv.bias.chunk(2)
    query = pool.q(pool.latent)[0, 0].reshape(pool.num_heads, -1)
    query_macs = pool.q.weight.numel() if isinstance(pool.q, nn.Linear) else 0
    parts = PoolingParts(
        query, query_macs, linear(keys, key_bias), linear(values, value_bias), attention, pool.proj, pool.norm, pool.mlp
    )
    return PoolingView("attention", pool, parts)


def unsupported_pooling(backbone: Any) -> list[str]:
    """Why the pooling of a network is not covered."""
    pool = backbone.global_pool
    if pool == "map":
        found: Any = getattr(backbone, "attn_pool", None)
        if type(found) is not AttentionPoolLatent:
            return [f"its attention pooling is {type(found).__name__}, not AttentionPoolLatent"]
        if found.latent_len != 1 or found.pos_embed is not None or found.pool != "token":
            return ["its attention pooling has several queries or positions of its own"]
        return []
    if pool not in ("token", "avg"):
        return [f"pooling {pool!r} mixes tokens in a way that the merge does not cover"]
    if getattr(backbone, "pool_include_prefix", False):
        return ["pool_include_prefix averages class token and registers into the output"]
    return []


def unsupported_images(backbone: Any) -> list[str]:
    """Why the way from images to tokens is not covered, where patches are embedded by one convolution."""
    reasons = []
    embedding = backbone.patch_embed
    if type(embedding) is not PatchEmbed or not isinstance(embedding.proj, nn.Conv2d):
        reasons.append(f"the patch embedding {type(embedding).__name__} is not one convolution")
    elif embedding.dynamic_img_pad:
        reasons.append("dynamic_img_pad pads the image inside the network")
    return reasons + unsupported_channels(backbone)


def unsupported_channels(backbone: Any) -> list[str]:
    """Why its input is not covered."""
    # The first of timm's constructors that keeps the number is that of 1.0.31.
    channels = next(
        (int(layer.weight.shape[1]) for layer in backbone.patch_embed.modules() if isinstance(layer, nn.Conv2d)), 3
    )  # without any, what is said of the patch embedding is enough
    return [] if channels == 3 else [f"it takes {channels} channels, not 3"]


def unsupported_mlp(mlp: Any) -> list[str]:
    """Why an MLP is not covered."""
    if type(mlp) in (Mlp, GluMlp, SwiGLU) and isinstance(mlp.fc2, nn.Linear):
        return []
    return [f"its MLP is {type(mlp).__name__}, not Mlp, GluMlp or SwiGLU"]


def unsupported_scales(block: Any) -> list[str]:
    """Why the residual scales of a block are not covered."""
    return [
        f"its residual scale is {type(scale).__name__}, not LayerScale"
        for scale in (getattr(block, "ls1", None), getattr(block, "ls2", None))
        if scale is not None and not isinstance(scale, (*LAYER_SCALES, nn.Identity))
    ]


def unsupported_with(unsupported_in_block: Callable[[Any], list[str]]) -> Callable[[Any], list[str]]:
    """What says why a network is not covered whose images and pooling are the usual ones, given why a block is not."""

    def unsupported(backbone: Any) -> list[str]:
        blocks = of_first_block([unsupported_in_block(block) for block in backbone.blocks])
        return unsupported_pooling(backbone) + unsupported_images(backbone) + blocks

    return unsupported


def converted_by(
    timm_filter: Callable[..., Any], **options: Any
) -> Callable[[Mapping[str, Tensor], Any], Mapping[str, Tensor]]:
    """What brings weights under timm's present names and resamples positions: timm's filter with these options."""

    def converted(state: Mapping[str, Tensor], backbone: Any) -> Mapping[str, Tensor]:
        found: Mapping[str, Tensor] = timm_filter(dict(state), backbone, **options)
        return found

    return converted


RESAMPLED: Mapping[str, Any] = MappingProxyType({"interpolation": "bicubic", "antialias": True})
"""How timm's filters resample position embeddings."""


def of_first_block(reasons: list[list[str]]) -> list[str]:
    """The reasons of the first block that has any; the others are like it."""
    return next(([f"block {index}: {reason}" for reason in found] for index, found in enumerate(reasons) if found), [])


def unsupported_post_norm(block: Any) -> list[str]:
    """Why the norms behind a block's branches are not covered: an adapter's output bias folds into that of the last."""
    if isinstance(block.norm2, nn.LayerNorm) and block.norm2.weight is not None:
        return []
    return [f"its norm behind the MLP is {type(block.norm2).__name__}, not LayerNorm with weights"]


def joined_projection(attention: Any) -> nn.Linear:
    """Queries, keys and values as one layer, of attention that keeps them in three, or their biases apart.

    timm's attention in `Eva` and `Beit` has one matrix `qkv` with the biases `q_bias`, none of the keys, and `v_bias`;
    or, in `Eva`, three layers, of which that of the keys may lack a bias.
    """
    if attention.qkv is not None:
        q_bias: Tensor | None = getattr(attention, "q_bias", None)
        if q_bias is None:
            layer: nn.Linear = attention.qkv
            return layer
        return linear(attention.qkv.weight, torch.cat([q_bias, torch.zeros_like(q_bias), attention.v_bias]))
    parts = [attention.q_proj, attention.k_proj, attention.v_proj]
    biases = [part.weight.new_zeros(part.out_features) if part.bias is None else part.bias for part in parts]
    biased = any(part.bias is not None for part in parts)
    return linear(torch.cat([part.weight for part in parts]), torch.cat(biases) if biased else None)


def split_projection(place: str, attention: Any, layer: nn.Linear, view: BlockView) -> dict[str, Tensor]:
    """The layer that `joined_projection` makes, as the backbone's state holds it.

    A bias of the keys that no score depends on is left out where the state has no place for it.
    """
    rows = view.key_rows
    parts = {"q": slice(0, rows.start), "k": slice(rows.start, rows.stop), "v": slice(rows.stop, None)}
    biases = {} if layer.bias is None else {name: layer.bias[part] for name, part in parts.items()}
    if biases and not view.keys_have_bias and (view.attention.keys_are_linear or not biases["k"].any()):
        del biases["k"]
    if attention.qkv is None:
        state = {f"{place}.{name}_proj.weight": layer.weight[part] for name, part in parts.items()}
        return state | {f"{place}.{name}_proj.bias": bias for name, bias in biases.items()}
    if view.keys_have_bias:
        return state_of_layer(f"{place}.qkv", layer)
    weight: dict[str, Tensor] = {f"{place}.qkv.weight": layer.weight}
    return weight | {f"{place}.{name}_bias": bias for name, bias in biases.items()}
