"""Adapters: bottlenecks behind the MLP or behind the block, and linear ones before a layer, which fold into it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noah.model.dropout import apply_dropout
from noah.model.kinds.module import Affine, Bottleneck, KindModule, Width, on


class QuickGELU(nn.Module):
    """The approximation z sigmoid(1.702 z) of GELU that the published adapters use."""

    def forward(self, z: Tensor) -> Tensor:
        """Of any shape."""
        return z * torch.sigmoid(1.702 * z)


class _Bottleneck(KindModule):
    """V (A, D), v (A), U (D, A) and u (D) of an adapter.

    Args:
        embed_dim: Width D of the tokens.
        largest_width: A.
        dropout: Rate of the dropout before U, in training only.
    """

    def __init__(self, embed_dim: int, largest_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(largest_width, embed_dim))
        self.down_bias = nn.Parameter(torch.zeros(largest_width))
        self.up = nn.Parameter(torch.zeros(embed_dim, largest_width))
        self.up_bias = nn.Parameter(torch.zeros(embed_dim if largest_width else 0))
        self.dropout = dropout

    def through(self, x: Tensor, width: Width, nonlinearity: nn.Module) -> Tensor:
        """U[:, :a] dropout(g(V[:a] x + v[:a])) + u of tokens (..., D), at a width or by a mask (A)."""
        if isinstance(width, Tensor):
            z = nonlinearity(F.linear(x, self.down, self.down_bias)) * width
            return F.linear(apply_dropout(z, self.dropout, self.training), self.up, on(width, self.up_bias))
        z = nonlinearity(F.linear(x, self.down[:width], self.down_bias[:width]))
        return F.linear(apply_dropout(z, self.dropout, self.training), self.up[:, :width], self.up_bias)


class Adapter(_Bottleneck):
    """Bottleneck after the MLP (Houlsby et al., 2019), in the form that NOAH published.

    m -> m + U[:, :a] dropout(g(V[:a] m + v[:a])) + u with g(z) = z sigmoid(1.702 z). V starts Xavier uniform, the rest
    zero, so that the adapter starts as zero.
    """

    remains = "behind the MLP"

    def __init__(self, embed_dim: int, largest_width: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, largest_width, dropout)
        self.nonlinearity = QuickGELU()
        if self.down.numel():
            nn.init.xavier_uniform_(self.down)

    def behind(self, x: Tensor, width: Width) -> Tensor:
        """What is added to the MLP's output (B, N, D)."""
        return self.at_strength(self.through(x, width, self.nonlinearity))

    def bottleneck(self, width: int) -> Bottleneck:
        """V, v, U and u at a width."""
        return Bottleneck(
            self.down[:width],
            self.down_bias[:width],
            self.at_strength(self.up[:, :width]),
            self.at_strength(self.up_bias),
            self.nonlinearity,
        )


class AdapterPlus(_Bottleneck):
    """Adapter+ (Steitz and Roth, 2024): a bottleneck on the residual stream behind the block, with a learned scale.

    y -> y + s * (U[:, :a] dropout(GELU(V[:a] y + v[:a])) + u) with s (D), the output of the whole block as y. V and U
    start normal with a standard deviation of 0.01, the biases zero, s one: alone of all kinds it does not start as
    zero.
    """

    remains = "behind the block"

    def __init__(self, embed_dim: int, largest_width: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, largest_width, dropout)
        self.scale = nn.Parameter(torch.ones(embed_dim if largest_width else 0))
        self.nonlinearity = nn.GELU()
        for weight in (self.down, self.up):
            if weight.numel():
                nn.init.normal_(weight, std=0.01)

    def behind(self, x: Tensor, width: Width) -> Tensor:
        """What is added to the block's output (B, N, D)."""
        return self.at_strength(self.scale) * self.through(x, width, self.nonlinearity)

    def bottleneck(self, width: int) -> Bottleneck:
        """V, v, s U and s u at a width."""
        return Bottleneck(
            self.down[:width],
            self.down_bias[:width],
            self.at_strength(self.scale)[:, None] * self.up[:, :width],
            self.at_strength(self.scale) * self.up_bias,
            self.nonlinearity,
        )


class LinearAdapter(_Bottleneck):
    """A linear bottleneck on normed tokens, before the layers that read them: RepAdapter (Luo et al., 2023), ungrouped.

    h -> h + U[:, :a] dropout(V[:a] h + v[:a]) + u. V starts Xavier uniform, the rest zero. As nothing bends, it folds
    into the layers behind it: W (I + U V) and b + W (U v + u).

    Args:
        layers: Names of the layers that read the tokens.
        embed_dim: Width D of the tokens.
        largest_width: A.
        dropout: Rate of the dropout before U, in training only.
    """

    def __init__(self, layers: tuple[str, ...], embed_dim: int, largest_width: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dim, largest_width, dropout)
        self.layers = layers
        self.nonlinearity = nn.Identity()
        if self.down.numel():
            nn.init.xavier_uniform_(self.down)

    def before(self, layer: str, h: Tensor, width: Width) -> Tensor:
        """The tokens with what is added to them."""
        return h + self.at_strength(self.through(h, width, self.nonlinearity)) if layer in self.layers else h

    def fold_before(self, layer: str, folded: Affine, width: int) -> Affine:
        """W (I + U V) and b + W (U v + u)."""
        if layer not in self.layers:
            return folded
        into = folded.weight @ self.at_strength(self.up[:, :width])
        shift = into @ self.down_bias[:width] + folded.weight @ self.at_strength(self.up_bias)
        return Affine(folded.weight + into @ self.down[:width], folded.bias).plus(shift)
