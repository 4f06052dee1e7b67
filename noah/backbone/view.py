"""What the supernet, the merge, the costs and the exports need of a backbone, and nothing else.

A `NetworkView` is a backbone from images to the tokens of its first block, and from the tokens of its last block to the
head. A `BlockView` is one of its blocks. Each family of timm's architectures makes its own (`noah.backbone.families`);
timm's private names stand there alone. A linear layer of a block has one name everywhere: `qkv`, `gate` where attention
has one, `proj`, the layers that read the MLP's input (`fc1`, or `fc1_g` and `fc1_x` where a layer of its own gates it),
and `fc2`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noah.space.kinds import BlockSizes, LayerSize

QKV, GATE, PROJ, FC2 = "qkv", "gate", "proj", "fc2"

Apply = Callable[[str, Tensor], Tensor]
"""Name of a linear layer, and its input (B, N, features) -> its output."""


class Readers(Enum):
    """The tokens whose output is read after a block: all with the prompts that live on, or some after the last one."""

    ALL = "all"
    IMAGE = "all tokens of the image"
    CLASS = "class token"
    PREFIX = "class and distillation tokens"
    PATCHES = "patch tokens"


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Rotary positions: pairs of features of a query or key are turned by an angle that depends on the token's place.

    Tokens that have no place (class token, registers, prompts) are not turned. (RoFormer; Su et al., 2021.)

    Attributes:
        sin: Of the angle of each feature, (1 or heads, N, d).
        cos: Of the same.
        halves: Whether feature i forms a pair with feature i + d / 2; otherwise pairs are neighbors.
    """

    sin: Tensor
    cos: Tensor
    halves: bool

    def among(self, before: int, behind: int) -> Rotation:
        """The rotation of these tokens and of others before and behind them, which are not turned."""
        around = (0, 0, before, behind)
        return Rotation(F.pad(self.sin, around), F.pad(self.cos, around, value=1.0), self.halves)

    def of(self, tokens: slice) -> Rotation:
        """The rotation of some of the tokens."""
        return Rotation(self.sin[:, tokens], self.cos[:, tokens], self.halves)

    def __call__(self, features: Tensor) -> Tensor:
        """Turn queries or keys (B, heads, N, d)."""
        if self.halves:
            first, second = features.chunk(2, dim=-1)
            turned = torch.cat([-second, first], dim=-1)
        else:
            turned = torch.stack([-features[..., 1::2], features[..., ::2]], dim=-1).flatten(-2)
        return (features * self.cos + turned * self.sin).to(features.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionView:
    """How a block attends.

    Attributes:
        heads: Number of heads of the queries.
        key_heads: Number of heads of keys and values; each serves `heads / key_heads` heads of queries.
        scale: Factor of the scores.
        q_norm: Of each head's queries.
        k_norm: Of each head's keys.
        norm: Of what all heads give together, before the projection.
        rotation: Of the patches' queries and keys, after their norms; None without rotary positions.
        bias: Added to the scores of the image's tokens, (1, heads, N, N); prompts have none, which is a bias of zero.
    """

    heads: int
    key_heads: int
    scale: float
    q_norm: nn.Module
    k_norm: nn.Module
    norm: nn.Module
    rotation: Rotation | None = None
    bias: Tensor | None = None

    @property
    def keys_are_linear(self) -> bool:
        """Whether keys are a linear function of normed tokens, the same for every token."""
        return isinstance(self.k_norm, nn.Identity) and self.rotation is None


@dataclass(frozen=True, slots=True, eq=False)
class MlpView:
    """How an MLP bends what its first layers give.

    Attributes:
        inputs: Names of the layers that read its input.
        bend: The nonlinearity.
        gated: Which half of the output is bent and multiplies the other; None if all of it is bent. Where two layers
            read the input, their outputs are the halves.
        norm: Before the last layer.
    """

    inputs: tuple[str, ...]
    bend: nn.Module
    gated: Literal["first", "last"] | None
    norm: nn.Module

    def inner(self, hidden: Sequence[Tensor]) -> Tensor:
        """What the last layer reads, given the outputs of the layers that read the MLP's input."""
        return _tensor(self.norm(bent(hidden, self.bend, self.gated)))


@dataclass(frozen=True, slots=True, eq=False)
class BlockView:
    """One block: x + scale1 behind1(attention(norm1(x))), then x + scale2 behind2(mlp(norm2(x))).

    Attributes:
        layers: Its linear layers by name, in the order in which tokens go through them. Queries, keys and values are
            one layer, one after the other in its outputs, however the backbone keeps them.
        attention: How it attends.
        mlp: How its MLP bends.
        norm1: Before attention.
        norm2: Before the MLP.
        scale1: LayerScale of what attention adds, (D); None for 1.
        scale2: The same of what the MLP adds.
        behind1: A norm of what attention adds, in blocks that norm after the branches and not before.
        behind2: The same of what the MLP adds.
        parallel: Whether the MLP reads the tokens as they were before attention.
        keys_have_bias: Whether the backbone has a bias of the keys, where it has those of queries and values.
    """

    layers: Mapping[str, nn.Linear]
    attention: AttentionView
    mlp: MlpView
    norm1: nn.Module
    norm2: nn.Module
    scale1: Tensor | None = None
    scale2: Tensor | None = None
    behind1: nn.Module | None = None
    behind2: nn.Module | None = None
    parallel: bool = False
    keys_have_bias: bool = True

    @property
    def attention_inputs(self) -> tuple[str, ...]:
        """Names of the layers that read what attention reads."""
        return (QKV, GATE) if GATE in self.layers else (QKV,)

    def mlp_of(self, x: Tensor, apply: Apply) -> Tensor:
        """The MLP of normed tokens (B, N, D), its linear layers applied by `apply`."""
        return apply(FC2, self.mlp.inner([apply(name, x) for name in self.mlp.inputs]))

    @property
    def key_rows(self) -> range:
        """Where keys stand among the outputs of the layer for queries, keys and values."""
        outputs, groups = self.layers[QKV].out_features, self.attention.heads // self.attention.key_heads
        keys = outputs // (groups + 2)
        return range(outputs - 2 * keys, outputs - keys)

    @property
    def sizes(self) -> BlockSizes:
        """The sizes that prices of modules depend on."""
        layers = {
            name: LayerSize(layer.in_features, layer.out_features, layer.bias is not None)
            for name, layer in self.layers.items()
        }
        return BlockSizes(
            layers[QKV].inputs,
            layers[QKV],
            layers[PROJ],
            tuple(layers[name] for name in self.mlp.inputs),
            layers[FC2],
            biased_keys=self.biased_keys,
            keys=len(self.key_rows),
            gate=layers.get(GATE),
        )

    @property
    def biased_keys(self) -> bool:
        """Whether an offset of the keys' biases has a place and changes anything."""
        return self.layers[QKV].bias is not None and self.keys_have_bias and not self.attention.keys_are_linear


class NetworkView(ABC):
    """A backbone around its blocks.

    Args:
        backbone: timm's network.
    """

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number of blocks."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Width D of the tokens."""

    @property
    @abstractmethod
    def prefix(self) -> int:
        """Number of class, distillation and register tokens, which come first."""

    @property
    @abstractmethod
    def patches(self) -> int:
        """Number of patch tokens."""

    @property
    def image_tokens(self) -> int:
        """Number of tokens of an image, prompts aside."""
        return self.prefix + self.patches

    @property
    @abstractmethod
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""

    @property
    @abstractmethod
    def stride(self) -> tuple[int, int]:
        """Height and width in pixels that one patch token stands for."""

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """Some weight, for its type and device."""

    @property
    @abstractmethod
    def patch_dim(self) -> int:
        """Inputs of the last layer of the patch embedding."""

    @property
    @abstractmethod
    def stem(self) -> nn.Module:
        """From normalized images (B, 3, H, W) to features (B, D, rows, columns) of the patches, without their norm."""

    @abstractmethod
    def stem_of_pixels(self, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
        """The stem for pixels in 0..255, their normalization taken in."""

    @property
    @abstractmethod
    def patch_norm(self) -> nn.Module:
        """Norm of the patches, before positions are added."""

    @abstractmethod
    def positions(self) -> Tensor:
        """What is added to the tokens of every image, (1, N, D): prefix tokens, and the positions of patches."""

    @property
    @abstractmethod
    def norm_pre(self) -> nn.Module:
        """Norm of the first block's input."""

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """The tokens (B, N, D) before the first block, of normalized images (B, 3, H, W)."""

    @abstractmethod
    def block(self, index: int) -> BlockView:
        """One block."""

    @property
    @abstractmethod
    def readers(self) -> Readers:
        """Which tokens are read behind the last block."""

    @property
    @abstractmethod
    def norm(self) -> nn.Module:
        """Norm of the tokens that are read, before they are pooled."""

    @property
    @abstractmethod
    def pooling(self) -> PoolingView:
        """How the tokens that are read become features of the image."""

    @property
    @abstractmethod
    def fc_norm(self) -> nn.Module:
        """Norm of what is pooled."""

    @abstractmethod
    def own_head(self) -> nn.Linear | None:
        """A copy of the backbone's own head on pooled features; None if it has none."""

    @property
    def head_inputs(self) -> int:
        """Number of features that are pooled from an image, which a head reads."""
        return self.embed_dim * (self.prefix if self.readers is Readers.PREFIX else 1)

    @abstractmethod
    def state_of_block(self, index: int, layers: Mapping[str, nn.Linear]) -> dict[str, Tensor]:
        """Linear layers of a block as the backbone's state holds them; a name that it lacks holds what has no place."""

    @abstractmethod
    def state_of_head(self, head: nn.Linear) -> dict[str, Tensor]:
        """A head on pooled features as the backbone's state holds it."""

    @abstractmethod
    def without_scales(self) -> nn.Module:
        """A copy of the backbone without LayerScale, which shares its weights."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolingView:
    """How tokens become features.

    Attributes:
        form: "first": the first token; "mean": of all; "side by side": all, one after the other; "attention": by one
            query that is the same for every image.
        attend: The whole of attention pooling, (B, N, D) -> (B, D).
        parts: The parts of attention pooling.
    """

    form: Literal["first", "mean", "side by side", "attention"]
    attend: nn.Module | None = None
    parts: PoolingParts | None = None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Pool the tokens that are read, (B, N, D), into the features of each image."""
        match self.form:
            case "first":
                return tokens[:, 0]
            case "mean":
                return tokens.mean(dim=1)
            case "side by side":
                return tokens.flatten(1)
            case "attention":
                assert self.attend is not None
                return _tensor(self.attend(tokens))


@dataclass(frozen=True, slots=True, eq=False)
class PoolingParts:
    """Attention pooling by one query: x = proj(attention), then x + mlp(norm(x)).

    Attributes:
        query: Before its norm, (heads, d).
        query_macs: Multiply-accumulates of computing it anew for every image.
        keys: The layer for keys.
        values: The layer for values.
        attention: Its norms, heads and scale.
        proj: After attention.
        norm: Before the MLP.
        mlp: The MLP, or None where pooling ends with the projection.
    """

    query: Tensor
    query_macs: int
    keys: nn.Linear
    values: nn.Linear
    attention: AttentionView
    proj: nn.Module
    norm: nn.Module
    mlp: nn.Module | None


def bent(hidden: Sequence[Tensor], bend: nn.Module, gated: Literal["first", "last"] | None) -> Tensor:
    """The outputs of an MLP's first layers, bent and gated as `MlpView` says."""
    if gated is None:
        (only,) = hidden
        return _tensor(bend(only))
    first, last = hidden if len(hidden) == 2 else hidden[0].chunk(2, dim=-1)
    return _tensor(first * bend(last) if gated == "last" else bend(first) * last)


def _tensor(output: Any) -> Tensor:
    """The output of a module, which torch does not type."""
    tensor: Tensor = output
    return tensor
