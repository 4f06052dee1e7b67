"""The three trainable modules, LoRA, adapter and prompt, with their dropout.

Each is built once at its largest width. The width in use is an argument of the call and selects the first rows or
columns, so that every subnet of a supernet shares the same weights and no module remembers which subnet ran last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 2**16
"""Values of a 16-bit number; a rate is rounded to so many parts of 1."""


def apply_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Set a share `rate` of the numbers to zero at random and divide the others by what is left of 1, in training only.

    Like `torch.nn.functional.dropout`, which it is on a GPU and where it is compiled. On a CPU torch draws a whole
    random number for each of them, which takes most of the time (docs/performance.md). Here numpy draws 64 bits for
    four, from a seed of torch's own generator: so `torch.manual_seed` decides all, and a checkpoint of its state
    restores it.

    Args:
        x: Numbers of any shape.
        rate: At least 0 and below 1; on a CPU it is rounded to a multiple of 1 / 65,536.
        training: Nothing happens where it is False.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    bits = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(math.ceil(x.numel() / 4))
    numbers = torch.from_numpy(bits.view(np.int16)[: x.numel()]).view(x.shape)
    # Compared into the type of `x`, so that the product needs no conversion.
    kept = torch.ge(numbers, dropped - _LEVELS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return x * kept.mul_(_LEVELS / (_LEVELS - dropped))


def output_of(layer: Callable[..., Any], *inputs: object) -> Tensor:
    """The tensor that a layer gives; neither torch nor timm says so in its types."""
    output: Tensor = layer(*inputs)
    return output


Width = int | Tensor
"""Rows in use: their number, or ones and then zeros for all of them."""


def is_used(width: Width) -> bool:
    """Whether a module is computed at all; one whose width is a mask is."""
    return isinstance(width, Tensor) or width > 0


class LoRA(nn.Module):
    """Low-rank addition to the query, key and value projection (Hu et al., 2021).

    h -> (dropout(h) A[:r]^T) B[:, :r]^T with A (R, D) and B (3 D, R). A starts Kaiming uniform and B zero, so that the
    addition starts as zero.

    Args:
        embed_dim: Width D of the tokens.
        largest_rank: R.
        dropout: Rate of the dropout on h, in training only.
    """

    def __init__(self, embed_dim: int, largest_rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(largest_rank, embed_dim))
        self.b = nn.Parameter(torch.zeros(3 * embed_dim, largest_rank))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw A anew and set B to zero."""
        if self.a.numel():
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        nn.init.zeros_(self.b)

    def forward(self, h: Tensor, rank: Width, rows: slice = slice(None)) -> Tensor:
        """The addition to the projection of `h`.

        Args:
            h: Normalized tokens (..., N, D).
            rank: r, at most R, or a mask (R).
            rows: Which of the 3 D output features are wanted (query, key and value lie one after the other).

        Returns:
            (..., N, number of rows).
        """
        h = apply_dropout(h, self.dropout, self.training)
        if isinstance(rank, Tensor):
            return F.linear(F.linear(h, self.a) * rank, self.b[rows])
        return F.linear(F.linear(h, self.a[:rank]), self.b[rows, :rank])

    def weight(self, rank: int) -> Tensor:
        """The addition as one matrix, B[:, :r] A[:r], shape (3 D, D)."""
        return self.b[:, :rank] @ self.a[:rank]


class Adapter(nn.Module):
    """Bottleneck after the MLP (Houlsby et al., 2019), in the published form.

    m -> U[:, :a] dropout(g(V[:a] m + v[:a])) + u with g(z) = z sigmoid(1.702 z), V (A, D), v (A), U (D, A), u (D).
    V starts Xavier uniform, the rest zero, so that the adapter starts as zero.

    Args:
        embed_dim: Width D of the tokens.
        largest_width: A.
        dropout: Rate of the dropout between g and U, in training only.
    """

    def __init__(self, embed_dim: int, largest_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(largest_width, embed_dim))
        self.down_bias = nn.Parameter(torch.zeros(largest_width))
        self.up = nn.Parameter(torch.zeros(embed_dim, largest_width))
        self.up_bias = nn.Parameter(torch.zeros(embed_dim if largest_width else 0))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw V anew and set v, U and u to zero."""
        if self.down.numel():
            nn.init.xavier_uniform_(self.down)
        for parameter in (self.down_bias, self.up, self.up_bias):
            nn.init.zeros_(parameter)

    def forward(self, m: Tensor, width: Width) -> Tensor:
        """The addition to the MLP's output `m` (..., N, D) at bottleneck size `width`, or by a mask (A); same shape."""
        if isinstance(width, Tensor):
            z = apply_dropout(quick_gelu(F.linear(m, self.down, self.down_bias)) * width, self.dropout, self.training)
            return F.linear(z, self.up, self.up_bias * width[0])
        z = quick_gelu(F.linear(m, self.down[:width], self.down_bias[:width]))
        z = apply_dropout(z, self.dropout, self.training)
        return F.linear(z, self.up[:, :width], self.up_bias)


class Prompt(nn.Module):
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
        self.range = math.sqrt(6.0 / (patch_dim + embed_dim))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the tokens anew."""
        nn.init.uniform_(self.tokens, -self.range, self.range)

    def forward(self, count: int, copies: int = 1) -> Tensor:
        """The first `count` tokens, (`copies`, `count`, D); each copy has a dropout mask of its own."""
        return apply_dropout(self.tokens[:count].expand(copies, -1, -1), self.dropout, self.training)


def quick_gelu(z: Tensor) -> Tensor:
    """The approximation z sigmoid(1.702 z) of GELU that the published adapters use."""
    return z * torch.sigmoid(1.702 * z)
