"""Offsets of biases (BitFit; Ben Zaken et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noah.model.kinds.module import Affine, KindModule, Width, on


class Bias(KindModule):
    """b -> b + d for the biases of linear layers, which takes the offsets in when it is merged. They start as zero.

    Args:
        layers: Name of the layer -> the number of its outputs, and those that have no offset: softmax ignores a bias of
            the keys.
        there: Whether the block has it at all.
    """

    def __init__(self, layers: Mapping[str, tuple[int, range]], there: int) -> None:
        super().__init__()
        self.outputs = {name: outputs for name, (outputs, _) in layers.items()}
        self.without = {name: without for name, (_, without) in layers.items()}
        sizes = {name: outputs - len(without) if there else 0 for name, (outputs, without) in layers.items()}
        self.offsets = nn.ParameterDict({name: torch.zeros(size) for name, size in sizes.items()})

    def offset(self, layer: str) -> Tensor:
        """The offset of every output of a layer, zero for those that have none."""
        without, found = self.without[layer], self.offsets[layer]
        return self.at_strength(
            torch.cat([found[: without.start], found.new_zeros(len(without)), found[without.start :]])
        )

    def beside(self, layer: str, h: Tensor, width: Width, rows: slice) -> Tensor | None:
        """The offset of some rows."""
        return on(width, self.offset(layer)[rows]) if layer in self.offsets else None

    def fold_beside(self, layer: str, folded: Affine, width: int) -> Affine:
        """B + d."""
        return folded.plus(self.offset(layer)) if layer in self.offsets else folded
