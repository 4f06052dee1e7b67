"""The architecture that comes nearest to one that the method does not cover."""

from __future__ import annotations

import difflib
import math
from functools import cache

import timm

from noah.backbone.family import family_architectures
from noah.backbone.outline import outline
from noah.backbone.supported import unsupported_parts

_COMPARED = 40
"""Architectures with similar names whose sizes are compared."""
_SAME_SIZE = 0.3
"""Up to this difference of the logarithms, sizes count as the same and the name decides."""


def nearest_covered(name: str) -> str | None:
    """The architecture nearest to another: of those with weights and a similar name, one that is about as large.

    Args:
        name: timm's name, without a tag.

    Returns:
        None if timm cannot build `name`, or nothing near is covered.
    """
    wanted = parameters(name)
    if wanted is None:
        return None
    names = difflib.get_close_matches(name, family_architectures(), n=_COMPARED, cutoff=0.3)
    best, closest = None, math.inf
    for near in names:
        if near == name or not timm.list_pretrained(f"{near}.*"):
            continue
        count = parameters(near) if is_covered(near) else None
        if count is not None and (difference := abs(math.log(count / wanted))) < closest:
            best, closest = near, difference
            if difference < _SAME_SIZE:
                break
    return best


@cache
def parameters(name: str) -> int | None:
    """The number of weights of an architecture without a head; None if timm cannot build it."""
    try:
        return sum(weight.numel() for weight in outline(name).parameters())
    except Exception:  # timm's constructors raise anything
        return None


@cache
def is_covered(name: str) -> bool:
    """Whether the method covers an architecture."""
    try:
        return not unsupported_parts(outline(name))
    except Exception:  # timm's constructors raise anything
        return False
