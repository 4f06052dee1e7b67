"""The architecture that comes nearest to one that the method does not cover."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, Protocol

from noah.backbone.family import family_architectures, family_weights
from noah.backbone.outline import outline
from noah.backbone.supported import unsupported_parts

_COMPARED = 40
"""Architectures with similar names whose sizes are compared."""
_SAME_SIZE = 0.3
"""Up to this difference of the logarithms, sizes count as the same and the name decides."""
_USUAL = tuple(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large"))
"""For names that no vision transformer has a word of."""


class Described(Protocol):
    """What has to be known of an architecture to compare it."""

    @property
    def parameters(self) -> int | None:
        """Weights without a head; None if timm cannot build it."""

    @property
    def covered(self) -> bool:
        """Whether the method covers it."""


class Description(NamedTuple):
    """The number of an architecture's weights without a head, and whether the method covers it."""

    parameters: int | None
    covered: bool


@cache
def describe(name: str) -> Description:
    """Describe an architecture by building its outline."""
    try:
        model = outline(name)
    except Exception:  # timm's constructors raise anything
        return Description(None, covered=False)
    return Description(sum(weight.numel() for weight in model.parameters()), not unsupported_parts(model))


def nearest_covered(name: str, look: Callable[[str], Described] = describe) -> str | None:
    """The architecture nearest to another: of those with weights and a similar name, one that is about as large.

    Args:
        name: timm's name, without a tag.
        look: Describes an architecture.

    Returns:
        None if timm cannot build `name`, or nothing near is covered.
    """
    wanted = look(name).parameters
    if not wanted:
        return None
    best, closest = None, math.inf
    for near in _by_name(name):
        found = look(near)
        if found.covered and found.parameters and (difference := abs(math.log(found.parameters / wanted))) < closest:
            best, closest = near, difference
            if difference < _SAME_SIZE:
                break
    return best


def _by_name(name: str) -> list[str]:
    """Vision transformers with weights whose names share words with this one, those that share most first."""
    words = set(name.split("_"))
    shared = {
        other: len(words & (theirs := set(other.split("_")))) / len(words | theirs)
        for other in _with_weights()
        if other != name
    }
    near = sorted((other for other, share in shared.items() if share), key=lambda other: (-shared[other], other))
    return [*near[:_COMPARED], *_USUAL]


@cache
def _with_weights() -> tuple[str, ...]:
    known = {weights.split(".")[0] for weights in family_weights()}
    return tuple(name for name in family_architectures() if name in known)
