"""From the name of a kind to a fresh module of it in one block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from noah.backbone.view import FC2, PROJ, QKV, BlockView
from noah.model.kinds.bias import Bias
from noah.model.kinds.bottleneck import Adapter, AdapterPlus, LinearAdapter
from noah.model.kinds.low_rank import LoRA, LoRAOfLayers
from noah.model.kinds.module import KindModule
from noah.model.kinds.prompt import Prompt
from noah.model.kinds.scale_shift import ScaleShift


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module is built.

    Attributes:
        view: The block.
        patch_dim: Inputs of the patch embedding.
        dropout: Rate of the modules' dropout, in training only.
    """

    view: BlockView
    patch_dim: int
    dropout: float

    def inputs(self, name: str) -> int:
        """Features that a layer takes."""
        return self.view.layers[name].in_features

    def outputs(self, name: str) -> int:
        """Features that a layer gives."""
        return self.view.layers[name].out_features

    @property
    def embed_dim(self) -> int:
        """Width D of the tokens."""
        return self.inputs(QKV)


Build = Callable[[Place, int], KindModule]
"""The block and the largest width -> a fresh module, which draws from torch's global generator."""


def _lora(layer: str) -> Build:
    return lambda at, rank: LoRA(layer, at.inputs(layer), at.outputs(layer), rank, at.dropout)


def _lora_of_mlp_inputs(at: Place, rank: int) -> KindModule:
    layers = {name: (at.inputs(name), at.outputs(name)) for name in at.view.mlp.inputs}
    return LoRAOfLayers(layers, rank, at.dropout)


def _bias(at: Place, there: int) -> KindModule:
    layers = {name: (layer.out_features, range(0)) for name, layer in at.view.layers.items() if layer.bias is not None}
    if QKV in layers and not at.view.biased_keys:
        layers[QKV] = (at.outputs(QKV), at.view.key_rows)
    return Bias(layers, there)


def _scale_shift(at: Place, there: int) -> KindModule:
    inputs = dict.fromkeys(at.view.attention_inputs, "norm1") | dict.fromkeys(at.view.mlp.inputs, "norm2")
    return ScaleShift(inputs, {PROJ: at.outputs(PROJ), FC2: at.outputs(FC2)}, at.embed_dim, there)


BUILD: Mapping[str, Build] = {
    "prompt": lambda at, count: Prompt(at.embed_dim, count, at.patch_dim, at.dropout),
    "lora": _lora(QKV),
    "adapter": lambda at, width: Adapter(at.embed_dim, width, at.dropout),
    "lora_proj": _lora(PROJ),
    "lora_fc1": _lora_of_mlp_inputs,
    "lora_fc2": _lora(FC2),
    "bias": _bias,
    "scale_shift": _scale_shift,
    "linear_adapter_attention": lambda at, width: LinearAdapter(
        at.view.attention_inputs, at.embed_dim, width, at.dropout
    ),
    "linear_adapter_mlp": lambda at, width: LinearAdapter(at.view.mlp.inputs, at.embed_dim, width, at.dropout),
    "adapter_plus": lambda at, width: AdapterPlus(at.embed_dim, width, at.dropout),
}
"""Name of a kind of `noah.space.kinds` -> how a module of it is built."""
