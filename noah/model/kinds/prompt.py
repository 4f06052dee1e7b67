"""Prompts: learned tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from noah.model.dropout import apply_dropout
from noah.model.kinds.module import KindModule


class Prompt(KindModule):
    """Learned tokens that a block appends to its input (Visual Prompt Tuning, deep; Jia et al., 2022).

    Args:
        embed_dim: Width D of the tokens.
        largest_count: Number of tokens built.
        patch_dim: Inputs of the patch embedding (channels x patch height x patch width), which set the range of the
            uniform start, as in that paper's code.
        dropout: Rate of the dropout on the tokens, in training only.
    """

    def __init__(self, embed_dim: int, largest_count: int, patch_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(largest_count, embed_dim))
        self.dropout = dropout
        limit = math.sqrt(6.0 / (patch_dim + embed_dim))
        nn.init.uniform_(self.tokens, -limit, limit)

    def forward(self, count: int, copies: int = 1) -> Tensor:
        """The first `count` tokens, (`copies`, `count`, D); each copy has a dropout mask of its own."""
        return apply_dropout(self.used(count).expand(copies, -1, -1), self.dropout, self.training)

    def used(self, count: int) -> Tensor:
        """The first `count` tokens, (`count`, D), at their strength."""
        return self.at_strength(self.tokens[:count])
