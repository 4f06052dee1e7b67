"""Layers around given weights, and modules with some of their layers replaced."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Make a linear layer around weights (out, in) and a bias (out), without copying them."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)  # type: ignore[assignment]  # torch types it as always there
    return layer


def with_layers(module: nn.Module, **layers: nn.Module) -> Any:
    """Copy a module shallowly and replace some of its layers; the others are shared."""
    changed = copy.copy(module)
    changed._modules = {**module._modules, **layers}
    return changed
