"""Folding one linear operation into another, and rebuilding layers around given weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def fold_scale(layer: nn.Linear, scale: Any) -> nn.Linear:
    """Fold the LayerScale after a linear layer into that layer."""
    if isinstance(scale, nn.Identity):
        return layer
    gamma = scale.gamma
    return linear(gamma[:, None] * layer.weight, None if layer.bias is None else gamma * layer.bias)


def fold_normalization(patches: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Conv2d:
    """Fold (x / 255 - mean) / std into the convolution without padding that follows it."""
    weight = patches.weight.double()
    shape = (1, 3, 1, 1)
    means, stds = (weight.new_tensor(values).view(shape) for values in (mean, std))
    shift = (weight * (means / stds)).sum(dim=(1, 2, 3))
    bias = -shift if patches.bias is None else patches.bias.double() - shift
    folded = nn.Conv2d(3, patches.out_channels, patches.kernel_size, patches.stride, device="meta")  # type: ignore[arg-type]  # timm keeps both as pairs
    folded.weight = nn.Parameter((weight / (255.0 * stds)).to(patches.weight.dtype))
    folded.bias = nn.Parameter(bias.to(patches.weight.dtype))
    return folded.requires_grad_(False)


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Make a linear layer around weights (out, in) and a bias (out), without copying them."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]  # torch types it as always there
    return layer


def rows_of(layer: nn.Linear, rows: slice) -> nn.Linear:
    """Make a linear layer that computes only some of another's output features."""
    return linear(layer.weight[rows], None if layer.bias is None else layer.bias[rows])


def with_layers(module: nn.Module, **layers: nn.Module) -> Any:
    """Copy a module shallowly and replace some of its layers; the others are shared."""
    changed = copy.copy(module)
    changed._modules = {**module._modules, **layers}
    return changed
