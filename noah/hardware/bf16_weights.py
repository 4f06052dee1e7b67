"""Frozen weights held in the precision that they are computed in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from noah.hardware.device import Hardware

_CONSTANTS = ("constant_keys", "constant_values", "constant_inputs", "key_weight", "value_weight")
"""Buffers of `noah.model.merged_attention` that are factors of matrix products."""


@contextmanager
def frozen_weights_held(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Hold the frozen layers of `model` in bfloat16 inside the `with` block, where the hardware computes in it.

    Autocast would round each of their matrices and biases anew in every step; rounded once they give the same bits. On
    leaving the block the float32 weights are back, because merging and exporting need them. Norms and everything that
    is trained stay float32.

    Args:
        model: Its linear and convolutional layers whose weights need no gradient are meant.
        hardware: Tells the precision; nothing happens in float32.
    """
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and not layer.weight.requires_grad and hardware.precision == "bf16"
    ]
    frozen = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    originals = [parameter.data for parameter in frozen]
    try:
        for parameter in frozen:
            parameter.data = parameter.data.to(torch.bfloat16)
        yield
    finally:
        for parameter, original in zip(frozen, originals, strict=True):
            parameter.data = original


def rounded_weights(model: nn.Module) -> dict[int, nn.Parameter]:
    """Identity of each matrix of the linear and convolutional layers -> the matrix in bfloat16."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return {
        id(layer.weight): nn.Parameter(layer.weight.detach().to(torch.bfloat16), requires_grad=False)
        for layer in layers
    }


def with_rounded_weights(
    model: nn.Module, hardware: Hardware, shared: Mapping[int, nn.Parameter] | None = None
) -> nn.Module:
    """The network with its matrices in bfloat16 for good, where the hardware computes in it; else the network itself.

    For networks that are only run: autocast would round each matrix anew in every forward pass, and constants in
    float32 would widen the keys and values that they are appended to. The given network is left as it is; whatever is
    not rounded is shared with it.

    Args:
        model: Its linear and convolutional layers are meant, and the constants of merged attention.
        hardware: Tells the precision.
        shared: What `rounded_weights` gave for a network that shares some of its weights, to round these once only.
    """
    if hardware.precision != "bf16":
        return model
    known = shared or {}
    own = [
        layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d) and id(layer.weight) not in known
    ]
    # What deepcopy finds in its memo it takes instead of copying.
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for name, constant in model.named_buffers():
        if name.rpartition(".")[2] in _CONSTANTS:
            memo[id(constant)] = constant.to(torch.bfloat16)
    for layer in own:
        memo |= rounded_weights(layer)
    memo |= known
    return copy.deepcopy(model, memo)
