"""Smooths a merged network: moves outliers of activations into weights, exactly, before it is quantized.

An activation has one scale for all of its channels, and a few channels are often much larger than the others, which are
then left with a few of the 256 values. A weight has a scale for each output, and its input channels are alike. So
channel j of what a product reads is divided by s_j where it is made, and column j of the weight is multiplied by s_j;
the product stays the same. (SmoothQuant: Xiao et al., 2022, https://arxiv.org/abs/2211.10438, equations 3 and 4.)

What makes a channel without bending it afterwards can be divided:

- the norm before attention or the MLP, whose weight and bias are divided, and every layer that reads it multiplied;
- the rows of the values, as attention mixes tokens and not channels: constant values of prompts and a gate included;
  where heads share values, all of them share one divisor;
- a norm of what all heads give, or inside the MLP, if there is one;
- the half of a gated MLP that is not bent.

Other activations stay as they are: what a plain MLP has bent, and tokens in blocks that norm behind their branches.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from timm.layers import RmsNorm, SimpleNorm
from torch import Tensor, nn

from noah.model.merge import MergedBlock, MergedMlp, MergedViT
from noah.model.merged_attention import ClassAttention, MergedAttention

STRENGTH: Final = 0.5
"""How much of an outlier moves into the weights, 0 to 1: the exponent alpha of the paper, with its default."""
_SMALLEST = 1e-4
"""Channels below this part of the largest are treated as if they had it, so that no divisor is 0 or huge."""

Forward = Callable[[MergedViT], None]
"""Runs a network on the images that calibrate."""


@dataclass(frozen=True, eq=False)
class Place:
    """Activations that can be smoothed.

    Attributes:
        where: Where in a block they are, in words.
        observed: The module whose input, or output, they are.
        is_input: Whether they are its input.
        divided: What makes them: weights and constants, as views whose last axis holds the channels, or whose last two
            axes hold heads and the channels of each.
        multiplied: The weights that read them, as views whose last axis holds the channels.
        groups: The number of heads that the makers have, if these are heads of values; None elsewhere.
        served: How many heads of the readers each of them serves.
    """

    where: str
    observed: nn.Module
    is_input: bool
    divided: tuple[Tensor, ...]
    multiplied: tuple[Tensor, ...]
    groups: int | None = None
    served: int = 1

    def divisors(self, largest: Tensor, strength: float) -> Tensor:
        """Compute a divisor for each channel (C), with a geometric mean of 1.

        Args:
            largest: The largest absolute value of each channel, (C).
            strength: 0 makes all columns of the weights alike, 1 all channels of the activations.
        """
        columns = torch.stack([part.abs().flatten(0, -2).amax(dim=0) for part in self.multiplied]).amax(dim=0)
        of_activations, of_weights = (_logarithms(self._together(values)) for values in (largest, columns))
        logarithms = strength * of_activations - (1 - strength) * of_weights
        return (logarithms - logarithms.mean()).exp().to(columns.dtype)

    def divide(self, divisors: Tensor) -> None:
        """Divide what makes the channels, and multiply what reads them, in place."""
        of_makers = divisors
        if self.groups is not None:
            of_makers = divisors.view(self.groups, self.served, -1)[:, 0].flatten()
        for part in self.divided:
            by_head = part.shape[-1] != len(of_makers)
            part.div_(of_makers.view(part.shape[-2:]) if by_head else of_makers)
        for part in self.multiplied:
            part.mul_(divisors)

    def _together(self, values: Tensor) -> Tensor:
        """Give heads that share their values the largest of theirs."""
        if self.groups is None:
            return values
        by_head = values.view(self.groups, self.served, -1)
        return by_head.amax(dim=1, keepdim=True).expand_as(by_head).flatten()


@dataclass(frozen=True)
class Smoothed:
    """A smoothed network.

    Attributes:
        network: With the same outputs to float rounding.
        places: How many activations were smoothed, by where in a block they are.
    """

    network: MergedViT
    places: dict[str, int]


@torch.no_grad()
def smooth(network: MergedViT, forward: Forward, *, strength: float = STRENGTH) -> Smoothed:
    """Smooth whatever can be smoothed in the blocks of a network.

    Args:
        network: On the CPU, in evaluation mode; it stays as it is.
        forward: Is given the network, and runs it on the images whose activations say what an outlier is.
        strength: How much of an outlier moves into the weights, 0 to 1.
    """
    smoothed = copy.deepcopy(network)  # which also parts weights that are views of one matrix
    places = smoothing_places(smoothed)
    with _largest_values(places) as largest:
        forward(smoothed)
    for place, values in zip(places, largest, strict=True):
        if values is not None and values.any():
            place.divide(place.divisors(values, strength))
    return Smoothed(smoothed, dict(Counter(place.where for place in places)))


def smoothing_places(network: MergedViT) -> list[Place]:
    """Find the activations of a network that can be smoothed, block by block."""
    return [place for block in network.blocks if isinstance(block, MergedBlock) for place in _places_of(block)]


def _places_of(block: MergedBlock) -> Iterator[Place]:
    attention, mlp = block.attention, block.mlp
    assert isinstance(attention, MergedAttention | ClassAttention) and isinstance(mlp, MergedMlp)
    constants, readers = _read_by_attention(attention)
    inputs = [_layer(mlp, name).weight for name in mlp.inputs]
    if block.norm is attention.norm:  # of parallel branches
        yield from _behind_norm("before attention and MLP", block.norm, [*readers, *inputs], constants)
    else:
        yield from _behind_norm("before attention", attention.norm, readers, constants)
        yield from _behind_norm("before the MLP", block.norm, inputs)
    yield from _before_last("before attention's projection", attention.heads.norm, attention.proj, _values(attention))
    yield from _before_last("inside the MLP", mlp.norm, mlp.fc2, _straight_half(mlp))


def _behind_norm(
    where: str, norm: nn.Module, readers: Sequence[Tensor], constants: Sequence[Tensor] = ()
) -> Iterator[Place]:
    """What a norm gives, if it has a weight that can be divided."""
    makers = _weights_of(norm)
    if makers:
        yield Place(where, norm, False, (*makers, *constants), tuple(readers))


def _before_last(where: str, norm: nn.Module, last: nn.Linear, made: _Made | None) -> Iterator[Place]:
    """What the last layer of a branch reads: what its norm gives or, without one, what is made of straight parts."""
    if not isinstance(norm, nn.Identity):
        made = _Made(_weights_of(norm))
    if made is not None and made.parts:
        yield Place(where, last, True, made.parts, (last.weight,), made.groups, made.served)


@dataclass(frozen=True, eq=False)
class _Made:
    """What makes the channels that the last layer of a branch reads; see `Place`."""

    parts: tuple[Tensor, ...]
    groups: int | None = None
    served: int = 1


def _weights_of(norm: nn.Module) -> tuple[Tensor, ...]:
    """Weight and bias of a norm, as far as it has them; nothing of a norm without weight, and of other modules."""
    if not isinstance(norm, nn.LayerNorm | nn.RMSNorm | RmsNorm | SimpleNorm):
        return ()
    weight, bias = norm.weight, getattr(norm, "bias", None)
    return () if weight is None else (weight,) if bias is None else (weight, bias)


def _read_by_attention(attention: MergedAttention | ClassAttention) -> tuple[list[Tensor], list[Tensor]]:
    """What attention keeps of normed prompts, and its weights that read normed tokens."""
    layers = [attention.q, attention.gate]
    if isinstance(attention, MergedAttention):
        layers += [attention.qkv, attention.kv]
        return [], [layer.weight for layer in layers if layer is not None]
    layers.append(attention.k)
    readers = [layer.weight for layer in layers if layer is not None]
    keys = [] if attention.key_weight is None else [attention.key_weight]
    constants = [] if attention.constant_inputs is None else [attention.constant_inputs]
    return constants, [*readers, *keys, attention.value_weight.transpose(1, 2)]


def _values(attention: MergedAttention | ClassAttention) -> _Made:
    """What makes values, which attention mixes token by token."""
    if isinstance(attention, ClassAttention):  # which keeps them once for each head that they serve
        bias = attention.value_bias
        return _Made((attention.value_weight.transpose(0, 1), *(() if bias is None else (bias,))))
    layer = attention.kv if attention.qkv is None else attention.qkv
    assert layer is not None
    rows = slice(layer.out_features - attention.widths[1] // 2, None)
    parts = _rows(layer, rows)
    if attention.constant_values is not None:
        parts = (*parts, attention.constant_values.transpose(1, 2))
    heads, key_heads = attention.heads.heads, attention.heads.key_heads
    return _Made(parts, key_heads, heads // key_heads)


def _straight_half(mlp: MergedMlp) -> _Made | None:
    """What makes the half of a gated MLP that is not bent."""
    if mlp.gated is None:
        return None
    layers = [_layer(mlp, name) for name in mlp.inputs]
    is_first = mlp.gated == "last"
    if len(layers) == 2:
        return _Made(_rows(layers[0 if is_first else 1], slice(None)))
    half = layers[0].out_features // 2
    return _Made(_rows(layers[0], slice(0, half) if is_first else slice(half, None)))


def _rows(layer: nn.Linear, rows: slice) -> tuple[Tensor, ...]:
    """Some of the outputs of a layer, as views with the outputs last."""
    weight, bias = layer.weight[rows].t(), layer.bias
    return (weight,) if bias is None else (weight, bias[rows])


def _layer(mlp: MergedMlp, name: str) -> nn.Linear:
    layer = mlp.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


def _logarithms(values: Tensor) -> Tensor:
    """Logarithms of magnitudes, none of them far below the others'."""
    values = values.double()
    return values.clamp(min=max(_SMALLEST * float(values.max()), torch.finfo(values.dtype).tiny)).log()


@contextmanager
def _largest_values(places: Sequence[Place]) -> Iterator[list[Tensor | None]]:
    """Collect the largest absolute value of each channel while the network runs; None where it was not run."""
    found: list[Tensor | None] = [None] * len(places)

    def see(index: int, values: Tensor) -> None:
        largest = values.detach().abs().flatten(0, -2).amax(dim=0)
        known = found[index]
        found[index] = largest if known is None else torch.maximum(known, largest)

    def watch(index: int, place: Place) -> Any:
        if place.is_input:
            return place.observed.register_forward_pre_hook(lambda _, inputs: see(index, inputs[0]))
        return place.observed.register_forward_hook(lambda _, __, output: see(index, output))

    handles = [watch(index, place) for index, place in enumerate(places)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
