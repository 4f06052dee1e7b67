"""The space of one module: its widths, the blocks that carry it, and how a search changes and mixes them.

In the paper a module of depth d sits in the first d blocks ("first"); here it may also sit in any d of them ("any").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class ModuleSpace:
    """What one module may look like: as many blocks as one of `depths` says carry it, each with one of `widths`.

    Args:
        widths: Allowed widths, ascending, each at least 1.
        depths: Allowed numbers of blocks, ascending; (0,) means that the module is absent.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    def size(self, placement: Placement, blocks: int) -> int:
        """Number of different settings of this module."""
        return sum(arrangements(placement, blocks, depth) * len(self.widths) ** depth for depth in self.depths)

    def contains(self, placement: Placement, widths: Sequence[int]) -> bool:
        """Whether these widths, one for each block, are a setting of this module."""
        where = carrying(widths)
        if len(where) not in self.depths or not is_placed(placement, where):
            return False
        return all(widths[block] in self.widths for block in where)


def mutate_widths(
    module: ModuleSpace,
    placement: Placement,
    old: Sequence[int],
    rng: Generator,
    *,
    gene_probability: float,
    depth_probability: float,
) -> list[int]:
    """Change one module a little, see `noah.space.operators.mutate`.

    Args:
        module: Its space.
        placement: Where it may sit.
        old: Its widths, one for each block.
        rng: Random numbers.
        gene_probability: That a width changes, or moves.
        depth_probability: That the depth is drawn anew.
    """
    where = carrying(old)
    if rng.random() < depth_probability:
        where = change_depth(placement, len(old), where, int(rng.choice(module.depths)), rng)
    new = place([old[block] for block in where], where, len(old))
    for block in where:
        changes = rng.random() < gene_probability
        if changes and old[block] and placement == "any" and rng.random() < 0.5 and (free := _free(where, new)):
            new[free[int(rng.integers(len(free)))]] = old[block]
            new[block] = 0
        elif changes or not old[block]:
            new[block] = int(rng.choice(module.widths))
    return new


def _free(where: Sequence[int], new: Sequence[int]) -> list[int]:
    """Blocks that no width is meant for and none has moved to."""
    return [block for block, width in enumerate(new) if not width and block not in where]


def cross_widths(placement: Placement, first: Sequence[int], second: Sequence[int], rng: Generator) -> list[int]:
    """Mix one module of two subnets, see `noah.space.operators.cross_over`.

    Args:
        placement: Where it may sit.
        first: Its widths in one parent, one for each block.
        second: In the other.
        rng: Random numbers.
    """
    parents = first, second
    depth = len(carrying(parents[int(rng.integers(2))]))
    if placement == "first":
        where = list(range(depth))
    else:
        shared = [block for block in carrying(first) if second[block]]
        single = [block for block in range(len(first)) if bool(first[block]) != bool(second[block])]
        where = sorted([*shared, *rng.permutation(single)[: depth - len(shared)].tolist()])
    mixed = []
    for block in where:
        gene = parents[int(rng.integers(2))][block]
        mixed.append(gene or max(parent[block] for parent in parents))
    return place(mixed, where, len(first))
