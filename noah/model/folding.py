"""Folding one linear operation into another, and rebuilding layers around given weights."""

from __future__ import annotations

from torch import Tensor, nn

from noah.backbone.layers import linear


def fold_scale(layer: nn.Linear, gamma: Tensor | None) -> nn.Linear:
    """Fold the LayerScale (outputs) after a linear layer, if there is one, into that layer."""
    if gamma is None:
        return layer
    return linear(gamma[:, None] * layer.weight, None if layer.bias is None else gamma * layer.bias)


def rows_of(layer: nn.Linear, rows: slice) -> nn.Linear:
    """Make a linear layer that computes only some of another's output features."""
    return linear(layer.weight[rows], None if layer.bias is None else layer.bias[rows])
