"""The kinds of module that a block may carry, as values: what each is called and what a width of it costs.

To add a kind: a value here, in the order in which kinds act inside a block after the published three, and the module
itself in a file of `noah.model.kinds`. Whatever counts, draws, prices or shows modules goes through `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class LayerSize:
    """The size of a linear layer of a block.

    Attributes:
        inputs: Features that it takes.
        outputs: Features that it gives.
        bias: Whether it has one.
    """

    inputs: int
    outputs: int
    bias: bool = True

    @property
    def sides(self) -> int:
        """Inputs and outputs together: what one rank of a low-rank addition costs."""
        return self.inputs + self.outputs


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """The sizes of a backbone's block that prices of modules depend on.

    Attributes:
        embed_dim: Width D of the tokens.
        qkv: The projection of queries, keys and values, one after the other in its outputs.
        proj: The projection after attention.
        fc1: The layers that read the MLP's input: one, or two where the MLP is gated by a layer of its own.
        fc2: The last layer of the MLP.
        biased_keys: Whether keys have a bias whose offset changes anything: softmax ignores it unless keys are normed
            or rotated.
        keys: How many of the outputs of `qkv` are keys; None for a third.
        gate: The layer that gates what attention gives; None without one.
    """

    embed_dim: int
    qkv: LayerSize
    proj: LayerSize
    fc1: tuple[LayerSize, ...]
    fc2: LayerSize
    biased_keys: bool = False
    keys: int | None = None
    gate: LayerSize | None = None

    @classmethod
    def plain(cls, embed_dim: int) -> BlockSizes:
        """The block of a plain vision transformer: an MLP four times as wide as the tokens, and biases everywhere."""
        d, hidden = embed_dim, 4 * embed_dim
        return cls(d, LayerSize(d, 3 * d), LayerSize(d, d), (LayerSize(d, hidden),), LayerSize(hidden, d))


Price = Callable[[int, BlockSizes], int]
"""Width, at least 1, and the sizes of the block -> trainable parameters in one block."""


@dataclass(frozen=True, slots=True)
class ModuleKind:
    """One kind of module.

    Attributes:
        name: As people type it and files hold it.
        words: What it is, for people: "LoRA on queries, keys and values".
        price: Trainable parameters of a width.
        widths: Those that presets offer, ascending.
        folds: Whether it disappears into the backbone's weights when it is merged, so that it costs no work. Prompts
            are tokens; whatever else does not fold leaves a bottleneck of its width, which every token goes through.
        starts_as_identity: Whether a fresh module leaves the backbone's function as it is.
    """

    name: str
    words: str
    price: Price
    widths: tuple[int, ...]
    folds: bool = True
    starts_as_identity: bool = True

    @property
    def is_switch(self) -> bool:
        """Whether it is there or not, without a width to choose."""
        return self.widths == (1,)


def _bottleneck(width: int, sizes: BlockSizes) -> int:
    """V, v, U and u of a bottleneck between tokens."""
    return 2 * sizes.embed_dim * width + width + sizes.embed_dim


def _offsets(_: int, sizes: BlockSizes) -> int:
    """An offset of every bias that is there and that matters."""
    keys = sizes.qkv.outputs // 3 if sizes.keys is None else sizes.keys
    of_qkv = sizes.qkv.outputs - (0 if sizes.biased_keys else keys)
    layers: tuple[LayerSize, ...] = (*((sizes.gate,) if sizes.gate else ()), sizes.proj, *sizes.fc1, sizes.fc2)
    return (of_qkv if sizes.qkv.bias else 0) + sum(layer.outputs for layer in layers if layer.bias)


def _scales_and_shifts(_: int, sizes: BlockSizes) -> int:
    """A scale and a shift of each feature after both norms, after the projection, and after the MLP."""
    return 2 * (3 * sizes.embed_dim + sizes.proj.outputs)


_ALL = (
    ModuleKind(
        "prompt",
        "prompt tokens",
        lambda width, sizes: width * sizes.embed_dim,
        (1, 5, 10),
        folds=False,
        starts_as_identity=False,
    ),
    ModuleKind("lora", "LoRA on queries, keys and values", lambda width, sizes: width * sizes.qkv.sides, (1, 5, 10)),
    ModuleKind("adapter", "adapter after the MLP", _bottleneck, (1, 5, 10), folds=False),
    ModuleKind(
        "lora_proj",
        "LoRA on the projection after attention",
        lambda width, sizes: width * sizes.proj.sides,
        (1, 5, 10),
    ),
    ModuleKind(
        "lora_fc1",
        "LoRA on the MLP's first layer",
        lambda width, sizes: width * sum(layer.sides for layer in sizes.fc1),
        (1, 5, 10),
    ),
    ModuleKind("lora_fc2", "LoRA on the MLP's last layer", lambda width, sizes: width * sizes.fc2.sides, (1, 5, 10)),
    ModuleKind("bias", "offsets of biases (BitFit)", _offsets, (1,)),
    ModuleKind("scale_shift", "a scale and a shift of features (SSF)", _scales_and_shifts, (1,)),
    ModuleKind(
        "linear_adapter_attention",
        "linear adapter before attention (RepAdapter)",
        _bottleneck,
        (1, 5, 10),
    ),
    ModuleKind("linear_adapter_mlp", "linear adapter before the MLP (RepAdapter)", _bottleneck, (1, 5, 10)),
    ModuleKind(
        "adapter_plus",
        "adapter with a learned scale behind the block (Adapter+)",
        lambda width, sizes: _bottleneck(width, sizes) + sizes.embed_dim,
        (1, 5, 10),
        folds=False,
        starts_as_identity=False,
    ),
)

KINDS: Mapping[str, ModuleKind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Every kind by its name; the published three first, in the order in which they act inside a block."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({"lora_all": ("lora", "lora_proj", "lora_fc1", "lora_fc2")})
"""Words for several kinds at once, where a person types a subnet."""

PUBLISHED: tuple[str, str, str] = ("prompt", "lora", "adapter")
"""The kinds of NOAH (Zhang, Zhou, Liu, 2022), which every file of a subnet names, absent or not."""


BOTTLENECKS = tuple(name for name, kind in KINDS.items() if not kind.folds and name != "prompt")
"""The kinds that leave a bottleneck of their width behind the MLP or the block."""


@cache
def price(kind: str, width: int, sizes: BlockSizes) -> int:
    """Trainable parameters of one module in one block; none at width 0."""
    return KINDS[kind].price(width, sizes) if width else 0


def as_sizes(sizes: BlockSizes | int) -> BlockSizes:
    """Sizes as they are, or those of a plain block with tokens of this width."""
    return sizes if isinstance(sizes, BlockSizes) else BlockSizes.plain(sizes)


def with_published(kinds: Collection[str]) -> tuple[str, ...]:
    """These kinds and the published ones, which files and pictures name whether they are there or not, in order."""
    return tuple(name for name in KINDS if name in PUBLISHED or name in kinds)


def in_order(widths: Mapping[str, Any]) -> list[str]:
    """The names of kinds in a mapping, in the order of `KINDS`; names of no kind come last, as they stand."""
    return [name for name in KINDS if name in widths] + [name for name in widths if name not in KINDS]
