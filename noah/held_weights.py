"""Frozen weights held in the precision that they are computed in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from noah.hardware import Hardware


@contextmanager
def frozen_weights_held(model: nn.Module, hardware: Hardware) -> Iterator[None]:
    """Hold the frozen matrices of `model` in bfloat16 inside the `with` block, where the hardware computes in it.

    Autocast would round each of them anew in every step; rounded once they give the same bits. On leaving the block
    the float32 weights are back, because merging and exporting need them. Biases, norms and everything that is trained
    stay float32.

    Args:
        model: Its linear and convolutional layers whose weights need no gradient are meant.
        hardware: Tells the precision; nothing happens in float32.
    """
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and not layer.weight.requires_grad and hardware.precision == "bf16"
    ]
    originals = [layer.weight.data for layer in layers]
    try:
        for layer in layers:
            layer.weight.data = layer.weight.data.to(torch.bfloat16)
        yield
    finally:
        for layer, original in zip(layers, originals, strict=True):
            layer.weight.data = original


def with_rounded_weights(model: nn.Module, hardware: Hardware) -> nn.Module:
    """A copy whose matrices are in bfloat16 for good, where the hardware computes in it; else the model itself.

    For networks that are only run: autocast would round each matrix anew in every forward pass.

    Args:
        model: Its linear and convolutional layers are meant.
        hardware: Tells the precision.
    """
    if hardware.precision != "bf16":
        return model
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.weight.data = layer.weight.data.to(torch.bfloat16)
    return model
