"""The three trainable modules, LoRA, adapter and prompt, with their dropout.

Each is built once, at its largest width. The width in use is an argument of the call and selects the first rows or
columns, so all subnets of a supernet share the same weights, and no module remembers which subnet ran last.
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
"""The number of 16-bit values; a rate is rounded to a multiple of 1 / 65,536."""


def apply_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Set a random share `rate` of the numbers to zero and divide the others by 1 - `rate`, in training only.

    On a GPU, and in compiled code, this is `torch.nn.functional.dropout`. On a CPU, torch draws a whole random number
    for each element, which takes most of the time (docs/performance.md). Here NumPy draws 64 bits for every four, with
    a seed from torch's own generator, so `torch.manual_seed` still determines the result, and restoring the generator's
    state from a checkpoint repeats it.

    Args:
        x: Numbers of any shape.
        rate: At least 0 and below 1; on a CPU it is rounded to a multiple of 1 / 65,536.
        training: If False, `x` is returned unchanged.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    bits = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(math.ceil(x.numel() / 4))
    numbers = torch.from_numpy(bits.view(np.int16)[: x.numel()]).view(x.shape)
    # The comparison is written in the type of `x`, so the product needs no conversion.
    kept = torch.ge(numbers, dropped - _LEVELS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return x * kept.mul_(_LEVELS / (_LEVELS - dropped))


def output_of(layer: Callable[..., Any], *inputs: object) -> Tensor:
    """Call a layer that returns a tensor; the types of torch and timm do not say that it does."""
    output: Tensor = layer(*inputs)
    return output


Width = int | Tensor
"""The rows in use: their number, or a mask with ones for these rows and then zeros."""


def is_used(width: Width) -> bool:
    """Whether a module is computed at all; with a mask as its width it always is."""
    return isinstance(width, Tensor) or width > 0


class LoRA(nn.Module):
    """A low-rank addition to the query, key and value projection (Hu et al., 2021).

    It computes (dropout(h) A[:r]^T) B[:, :r]^T with A (R, D) and B (3 D, R). A starts Kaiming uniform and B starts as
    zero, so the addition starts as zero.

    Args:
        embed_dim: Width D of the tokens.
        largest_rank: The largest rank R.
        dropout: The dropout rate on h, in training only.
    """

    def __init__(self, embed_dim: int, largest_rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(largest_rank, embed_dim))
        self.b = nn.Parameter(torch.zeros(3 * embed_dim, largest_rank))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw A and set B to zero."""
        if self.a.numel():
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))
        nn.init.zeros_(self.b)

    def forward(self, h: Tensor, rank: Width, rows: slice = slice(None)) -> Tensor:
        """Compute the addition to the projection of `h`.

        Args:
            h: Normalized tokens (..., N, D).
            rank: The rank r, at most R, or a mask (R).
            rows: Which of the 3 D output features are wanted (query, key and value follow one another).

        Returns:
            (..., N, number of rows).
        """
        h = apply_dropout(h, self.dropout, self.training)
        if isinstance(rank, Tensor):
            return F.linear(F.linear(h, self.a) * rank, self.b[rows])
        return F.linear(F.linear(h, self.a[:rank]), self.b[rows, :rank])

    def weight(self, rank: int) -> Tensor:
        """The addition as one matrix, B[:, :r] A[:r], of shape (3 D, D)."""
        return self.b[:, :rank] @ self.a[:rank]


class Adapter(nn.Module):
    """A bottleneck after the MLP (Houlsby et al., 2019), in the form of the published code.

    It computes U[:, :a] dropout(g(V[:a] m + v[:a])) + u, with g(z) = z sigmoid(1.702 z), V (A, D), v (A), U (D, A) and
    u (D). V starts Xavier uniform and the rest starts as zero, so the adapter starts as zero.

    Args:
        embed_dim: Width D of the tokens.
        largest_width: The largest bottleneck size A.
        dropout: The dropout rate between g and U, in training only.
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
        """Redraw V and set v, U and u to zero."""
        if self.down.numel():
            nn.init.xavier_uniform_(self.down)
        for parameter in (self.down_bias, self.up, self.up_bias):
            nn.init.zeros_(parameter)

    def forward(self, m: Tensor, width: Width) -> Tensor:
        """Compute the addition to the MLP's output `m` (..., N, D); `width` is the bottleneck size or a mask (A)."""
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
        largest_count: The largest number of tokens.
        patch_dim: The number of inputs of the patch embedding (channels x patch height x patch width), which sets the
            range of the uniform initial values, as in that paper's code.
        dropout: The dropout rate on the tokens, in training only.
    """

    def __init__(self, embed_dim: int, largest_count: int, patch_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(largest_count, embed_dim))
        self.range = math.sqrt(6.0 / (patch_dim + embed_dim))
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw the tokens."""
        nn.init.uniform_(self.tokens, -self.range, self.range)

    def forward(self, count: int, copies: int = 1) -> Tensor:
        """Give the first `count` tokens, (`copies`, `count`, D); each copy has its own dropout mask."""
        return apply_dropout(self.tokens[:count].expand(copies, -1, -1), self.dropout, self.training)


def quick_gelu(z: Tensor) -> Tensor:
    """Compute z sigmoid(1.702 z), the approximation of GELU that the published adapters use."""
    return z * torch.sigmoid(1.702 * z)
