"""The contract of a kind of module: what it does in a block, at any width, and what is left of it when it is merged.

A linear layer of the block, y = W h + b, may be changed in three places by any number of modules:

- before it, h -> M h + t: it then folds to W M and b + W t;
- beside it, y -> y + A h + a: it folds to W + A and b + a;
- after it, y -> diag(g) y + c: it folds to diag(g) W and diag(g) b + c.

All that stand before a layer act first, then the layer with what stands beside it, then what stands after it; within
one place the order is that of `noah.space.kinds.KINDS`. Behind the MLP, or behind the whole block, a module may add to
the tokens by a bottleneck with a nonlinearity, which remains as it is when everything else is folded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Width = int | Tensor
"""Rows in use: their number, or ones and then zeros for all of them."""


@dataclass(frozen=True, slots=True)
class Affine:
    """y = W h + b.

    Attributes:
        weight: W, (outputs, inputs).
        bias: b, (outputs), or None for zero.
    """

    weight: Tensor
    bias: Tensor | None

    def plus(self, bias: Tensor) -> Affine:
        """With something added to the bias."""
        return Affine(self.weight, bias if self.bias is None else self.bias + bias)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """x -> U g(V x + v) + u, what remains of a module: V, v, U, u, and g."""

    down: Tensor
    down_bias: Tensor
    up: Tensor
    up_bias: Tensor
    nonlinearity: nn.Module


class KindModule(nn.Module):
    """One module in one block, at its largest width; as it stands here it changes nothing.

    A width in use is a number, and the first so many rows are used, or a mask over all rows: ones, then zeros. Both
    give the same; with masks the shapes are those of the largest width, which is what a compiler needs.
    """

    remains: Literal["behind the MLP", "behind the block"] | None = None
    """Where it adds to tokens by a bottleneck of its own, if it does."""
    strength: float = 1.0
    """A fixed factor of what it changes, which folds, too."""

    def at_strength(self, change: Tensor) -> Tensor:
        """What it changes, times its strength."""
        return change if self.strength == 1 else change * self.strength

    def before(self, layer: str, h: Tensor, width: Width) -> Tensor:
        """The input (..., features) of a linear layer, changed."""
        return h

    def beside(self, layer: str, h: Tensor, width: Width, rows: slice) -> Tensor | None:
        """What is added to some rows of the output of a linear layer with input `h`."""
        return None

    def after(self, layer: str, y: Tensor, width: Width, rows: slice) -> Tensor:
        """Some rows of the output of a linear layer, changed."""
        return y

    def fold_before(self, layer: str, folded: Affine, width: int) -> Affine:
        """The layer that takes the input as it was before `before`."""
        return folded

    def fold_beside(self, layer: str, folded: Affine, width: int) -> Affine:
        """The layer that has what `beside` adds."""
        return folded

    def fold_after(self, layer: str, folded: Affine, width: int) -> Affine:
        """The layer that gives what `after` makes of its output."""
        return folded

    def behind(self, x: Tensor, width: Width) -> Tensor:
        """What it adds to tokens (B, N, D), where it `remains`."""
        raise NotImplementedError(f"{type(self).__name__} adds nothing behind a block")

    def bottleneck(self, width: int) -> Bottleneck:
        """What `behind` computes, as tensors."""
        raise NotImplementedError(f"{type(self).__name__} adds nothing behind a block")


def is_used(width: Width) -> bool:
    """Whether a module is computed at all; one whose width is a mask is."""
    return isinstance(width, Tensor) or width > 0


def on(width: Width, values: Tensor) -> Tensor:
    """Values of a switch: themselves, or times its mask (1)."""
    return values * width[0] if isinstance(width, Tensor) else values


def output_of(layer: Callable[..., Any], *inputs: object) -> Tensor:
    """The tensor that a layer gives; neither torch nor timm says so in its types."""
    output: Tensor = layer(*inputs)
    return output
