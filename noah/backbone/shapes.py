"""Which of timm's architectures weights look like, by their names and shapes.

Those of the same width are built with a single block, which takes some hundredths of a second each, and only those that
are alike so far with all of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from torch import Tensor

from noah.backbone.family import architectures_of_width
from noah.backbone.outline import outline

Shapes = dict[str, tuple[int, ...]]

_ALIKE = 0.9
"""The share of weights with the same name and shape from which on an architecture is worth naming."""
_NORM = "blocks.0.norm1.weight"
"""A weight as long as tokens are wide, which all of timm's vision transformers have."""
_RESAMPLED = ("pos_embed",)
"""Weights whose number of tokens depends on the image size only."""


class Likeness(NamedTuple):
    """How much weights look like those of an architecture.

    Args:
        architecture: timm's name.
        share: The share of all names, theirs and its own, that stand for the same shape on both sides; 1 if all do.
        same_grid: Whether the position embeddings, if there are any, are for the same number of patches.
    """

    architecture: str
    share: float
    same_grid: bool


def likest(state: Mapping[str, Tensor]) -> list[Likeness]:
    """The architectures that weights look like most, the best ones first.

    Args:
        state: Weights by timm's names, without a head.

    Returns:
        Those that are alike to at least nine tenths. Several may be equally good: shapes do not tell an activation, nor
        the number of heads.
    """
    given = _shapes({name: value for name, value in state.items() if name != "mask_token"})
    width = given.get(_NORM, (0,))[0]
    first = {name: shape for name, shape in given.items() if _block(name) in (None, 0)}
    near = architectures_of_width(width) if width else []
    near = [name for name in near if _likeness(name, first, single=True).share >= _ALIKE]
    alike = [one for name in near if (one := _likeness(name, given)).share >= _ALIKE]
    return sorted(alike, key=lambda one: (-one.share, not one.same_grid, one.architecture))


def the_only_one(found: list[Likeness]) -> str | None:
    """The one architecture that weights can be of; None if there is none, or there are several."""
    exact = [one for one in found if one.share == 1]
    exact = [one for one in exact if one.same_grid] or exact
    return exact[0].architecture if len(exact) == 1 else None


def _likeness(architecture: str, given: Shapes, *, single: bool = False) -> Likeness:
    """Compare shapes with those of an architecture, or of its first block and all that is in no block."""
    theirs = _shapes_of(architecture, single=single)
    same_grid = all(given.get(name) == theirs.get(name) for name in _RESAMPLED)
    same = sum(
        shape == theirs[name]
        or (name in _RESAMPLED and (len(shape), shape[-1]) == (len(theirs[name]), theirs[name][-1]))
        for name, shape in given.items()
        if name in theirs
    )
    return Likeness(architecture, same / len(given.keys() | theirs.keys()), same_grid)


@cache
def _shapes_of(architecture: str, *, single: bool) -> Shapes:
    """The shapes of an architecture without a head; none if timm cannot build it."""
    for depth in ({"depth": 1}, {}) if single else ({},):
        try:
            shapes = _shapes(outline(architecture, **depth).state_dict())
        except Exception:  # timm's constructors raise anything, some of them for another depth
            continue
        return {name: shape for name, shape in shapes.items() if not single or _block(name) in (None, 0)}
    return {}


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}


def _block(name: str) -> int | None:
    """The number of the block that a weight is in; None if it is in none."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "blocks" and len(parts) > 1 and parts[1].isdigit() else None
