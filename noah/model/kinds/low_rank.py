"""LoRA on any linear layer of a block (Hu et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noah.model.dropout import apply_dropout
from noah.model.kinds.module import Affine, KindModule, Width, output_of


class LowRank(nn.Module):
    """h -> (dropout(h) A[:r]^T) B[:, :r]^T with A (R, inputs) and B (outputs, R).

    A starts Kaiming uniform and B zero, so that the addition starts as zero.

    Args:
        inputs: Features of h.
        outputs: Features of the addition.
        largest_rank: R.
        dropout: Rate of the dropout on h, in training only.
    """

    def __init__(self, inputs: int, outputs: int, largest_rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(largest_rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, largest_rank))
        self.dropout = dropout
        if self.a.numel():
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, h: Tensor, rank: Width, rows: slice = slice(None)) -> Tensor:
        """The addition to some rows of the output for input `h` (..., inputs); rank is a number, or a mask (R)."""
        h = apply_dropout(h, self.dropout, self.training)
        if isinstance(rank, Tensor):
            return F.linear(F.linear(h, self.a) * rank, self.b[rows])
        return F.linear(F.linear(h, self.a[:rank]), self.b[rows, :rank])

    def weight(self, rank: int) -> Tensor:
        """The addition as one matrix, B[:, :r] A[:r], (outputs, inputs)."""
        return self.b[:, :rank] @ self.a[:rank]


class LoRA(LowRank, KindModule):
    """A low-rank addition beside one linear layer, which it folds into.

    Args:
        layer: Name of the layer.
        inputs: Of the layer.
        outputs: Of the layer.
        largest_rank: R.
        dropout: Rate of the dropout on the layer's input, in training only.
    """

    def __init__(self, layer: str, inputs: int, outputs: int, largest_rank: int, dropout: float = 0.0) -> None:
        super().__init__(inputs, outputs, largest_rank, dropout)
        self.layer = layer

    def beside(self, layer: str, h: Tensor, width: Width, rows: slice) -> Tensor | None:
        """The addition, at its own layer."""
        return self.at_strength(self(h, width, rows)) if layer == self.layer else None

    def fold_beside(self, layer: str, folded: Affine, width: int) -> Affine:
        """W + B A, at its own layer."""
        if layer != self.layer:
            return folded
        return Affine(folded.weight + self.at_strength(self.weight(width)), folded.bias)


class LoRAOfLayers(KindModule):
    """A low-rank addition beside each of several layers that read the same input.

    Args:
        layers: Name -> inputs and outputs of the layer.
        largest_rank: R of each.
        dropout: Rate of the dropout on the input, in training only.
    """

    def __init__(self, layers: Mapping[str, tuple[int, int]], largest_rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.additions = nn.ModuleDict({name: LowRank(*size, largest_rank, dropout) for name, size in layers.items()})

    def beside(self, layer: str, h: Tensor, width: Width, rows: slice) -> Tensor | None:
        """The addition to that layer."""
        if layer not in self.additions:
            return None
        return self.at_strength(output_of(self.additions[layer], h, width, rows))

    def fold_beside(self, layer: str, folded: Affine, width: int) -> Affine:
        """W + B A of that layer."""
        if layer not in self.additions:
            return folded
        addition = self.additions[layer]
        assert isinstance(addition, LowRank)
        return Affine(folded.weight + self.at_strength(addition.weight(width)), folded.bias)
