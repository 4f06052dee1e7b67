"""Which blocks carry a module.

In the paper a module of depth d sits in the first d blocks ("first"); here it may also sit in any d of them ("any").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from numpy.random import Generator

Placement = Literal["first", "any"]


def carrying(widths: Sequence[int]) -> list[int]:
    """The blocks that carry a module with these widths, ascending."""
    return [block for block, width in enumerate(widths) if width]


def place(widths: Sequence[int], where: Sequence[int], blocks: int) -> list[int]:
    """A width for each block: these in the blocks `where`, 0 in all others.

    Args:
        widths: One for each block of `where`.
        where: Blocks.
        blocks: Number of blocks.
    """
    placed = [0] * blocks
    for block, width in zip(where, widths, strict=True):
        placed[block] = width
    return placed


def arrangements(placement: Placement, blocks: int, depth: int) -> int:
    """Number of sets of blocks that a module of this depth can sit in."""
    return math.comb(blocks, depth) if placement == "any" else 1


def is_placed(placement: Placement, where: Sequence[int]) -> bool:
    """Whether a module may sit in these blocks."""
    return placement == "any" or list(where) == list(range(len(where)))


def draw_blocks(placement: Placement, blocks: int, depth: int, rng: Generator) -> list[int]:
    """Blocks for a module of this depth, ascending, each set of them as likely; "first" takes no random number."""
    if placement == "first":
        return list(range(depth))
    return sorted(rng.choice(blocks, size=depth, replace=False).tolist())


def cheapest_blocks(placement: Placement, blocks: int, depth: int) -> list[int]:
    """The blocks in which a module of this depth makes least work.

    These are the last ones. The last block of all computes the tokens that the head reads and no others; and prompts
    that end before it, or that leave gaps, are carried through the blocks behind them as tokens like all others.
    """
    return list(range(depth)) if placement == "first" else list(range(blocks - depth, blocks))


def change_depth(placement: Placement, blocks: int, where: Sequence[int], depth: int, rng: Generator) -> list[int]:
    """The blocks of a module whose depth changes, ascending.

    "first" leaves out the last of them or adds those behind them; "any" leaves out or adds random ones.

    Args:
        placement: Where modules may sit.
        blocks: Number of blocks.
        where: The blocks until now.
        depth: The new depth.
        rng: Random numbers, for "any".
    """
    if placement == "first":
        return list(range(depth))
    if depth <= len(where):
        return sorted(rng.choice(where, size=depth, replace=False).tolist()) if depth else []
    free = [block for block in range(blocks) if block not in where]
    return sorted([*where, *rng.choice(free, size=depth - len(where), replace=False).tolist()])
