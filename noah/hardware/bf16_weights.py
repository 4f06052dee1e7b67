"""Holds frozen weights in the precision in which they are used."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from noah.hardware.device import Hardware

Network = TypeVar("Network", bound=nn.Module)

_CONSTANTS = ("constant_keys", "constant_values", "constant_inputs", "key_weight", "value_weight")
"""The buffers of `noah.model.merged_attention` that are factors in matrix products."""


@contextmanager
def frozen_weights_held(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Hold the frozen layers of `model` in bfloat16 inside the `with` block, if the hardware computes in bfloat16.

    Autocast would round all their matrices and biases again in every step; rounding them once gives the same bits.
    After the block the float32 weights are back, because merging and exporting need them. Norms and everything that is
    trained stay float32.

    Args:
        model: The model whose linear and convolutional layers are rounded if their weights need no gradient.
        hardware: Gives the precision; nothing happens in float32.
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
    """Round the matrices of all linear and convolutional layers to bfloat16, by the `id` of the original matrix."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return {
        id(layer.weight): nn.Parameter(layer.weight.detach().to(torch.bfloat16), requires_grad=False)
        for layer in layers
    }


def with_rounded_weights(
    model: Network, hardware: Hardware, shared: Mapping[int, nn.Parameter] | None = None
) -> Network:
    """Make a copy of the network with bfloat16 matrices if the hardware computes in bfloat16; else return it unchanged.

    This is for networks that are only run: autocast would round each matrix again in every forward pass, and float32
    constants would widen the keys and values that they are appended to. The original network does not change, and
    everything that is not rounded is shared with it.

    Args:
        model: The network whose linear and convolutional layers, and constants of merged attention, are rounded.
        hardware: Gives the precision.
        shared: What `rounded_weights` returned for a network that shares some of the weights, so that these are rounded
            only once.
    """
    if hardware.precision != "bf16":
        return model
    known = shared or {}
    own = [
        layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d) and id(layer.weight) not in known
    ]
    # deepcopy uses what it finds in its memo instead of copying.
    memo: dict[int, object] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    for name, constant in model.named_buffers():
        if name.rpartition(".")[2] in _CONSTANTS:
            memo[id(constant)] = constant.to(torch.bfloat16)
    for layer in own:
        memo |= rounded_weights(layer)
    memo |= known
    return copy.deepcopy(model, memo)
