"""The space of one module: its widths, the blocks that carry it, and how a search mutates and crosses them.

In the paper a module of depth d sits in the first d blocks ("first"); here it may also fill the last d ("last") or sit
in any d blocks ("any").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

Placement = Literal["first", "last", "any"]


def carrying(widths: Sequence[int]) -> list[int]:
    """The blocks in which these widths are not 0, in ascending order."""
    return [block for block, width in enumerate(widths) if width]


def place(widths: Sequence[int], where: Sequence[int], blocks: int) -> list[int]:
    """Spread widths over all blocks: `widths[i]` goes into block `where[i]`, and all other blocks get 0."""
    placed = [0] * blocks
    for block, width in zip(where, widths, strict=True):
        placed[block] = width
    return placed


def arrangements(placement: Placement, blocks: int, depth: int) -> int:
    """How many different sets of blocks a module of this depth can sit in."""
    return math.comb(blocks, depth) if placement == "any" else 1


def filled_blocks(placement: Placement, blocks: int, depth: int) -> list[int]:
    """The blocks that a module of this depth fills: the last ones for "last", and the first ones otherwise."""
    return list(range(blocks - depth, blocks)) if placement == "last" else list(range(depth))


def is_placed(placement: Placement, blocks: int, where: Sequence[int]) -> bool:
    """Whether a module may sit in these blocks."""
    return placement == "any" or list(where) == filled_blocks(placement, blocks, len(where))


def draw_blocks(placement: Placement, blocks: int, depth: int, rng: Generator) -> list[int]:
    """Draw blocks for a module of this depth uniformly, in ascending order; only "any" uses random numbers."""
    if placement != "any":
        return filled_blocks(placement, blocks, depth)
    return sorted(rng.choice(blocks, size=depth, replace=False).tolist())


def cheapest_blocks(placement: Placement, blocks: int, depth: int) -> list[int]:
    """The blocks in which a module of this depth adds the least work.

    Where modules may sit anywhere, these are the last blocks. The very last block computes only the tokens that the
    head reads; and prompts that end before it, or leave gaps, are carried through the later blocks as ordinary tokens.
    """
    return filled_blocks("first" if placement == "first" else "last", blocks, depth)


def change_depth(placement: Placement, blocks: int, where: Sequence[int], depth: int, rng: Generator) -> list[int]:
    """Give the blocks of a module after its depth changes, in ascending order.

    `where` holds its blocks so far. "first" drops the last blocks or adds the next ones, "last" drops the first blocks
    or adds those before, both without random numbers; "any" drops or adds random blocks.
    """
    if placement != "any":
        return filled_blocks(placement, blocks, depth)
    if depth <= len(where):
        return sorted(rng.choice(where, size=depth, replace=False).tolist()) if depth else []
    free = [block for block in range(blocks) if block not in where]
    return sorted([*where, *rng.choice(free, size=depth - len(where), replace=False).tolist()])


@dataclass(frozen=True, slots=True)
class ModuleSpace:
    """What one module may look like: it has one of `depths` as its number of blocks, and one of `widths` in each.

    Args:
        widths: The widths allowed, in ascending order, each at least 1.
        depths: The numbers of blocks allowed, in ascending order; (0,) means that the module is absent.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    def size(self, placement: Placement, blocks: int) -> int:
        """How many different settings this module has in a backbone of so many blocks."""
        return sum(arrangements(placement, blocks, depth) * len(self.widths) ** depth for depth in self.depths)

    def contains(self, placement: Placement, widths: Sequence[int]) -> bool:
        """Whether these widths, one for each block, are a setting of this module."""
        where = carrying(widths)
        if len(where) not in self.depths or not is_placed(placement, len(widths), where):
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
    """Mutate one module, whose widths block by block are `old`; see `noah.space.operators.mutate`.

    A width changes, or moves to another block, with `gene_probability`; the depth is redrawn with `depth_probability`.
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
    """Blocks that are not to carry the module and that no width has moved to."""
    return [block for block, width in enumerate(new) if not width and block not in where]


def cross_widths(placement: Placement, first: Sequence[int], second: Sequence[int], rng: Generator) -> list[int]:
    """Cross one module of two parents, given its widths block by block; see `noah.space.operators.cross_over`."""
    parents = first, second
    depth = len(carrying(parents[int(rng.integers(2))]))
    if placement != "any":
        where = filled_blocks(placement, len(first), depth)
    else:
        shared = [block for block in carrying(first) if second[block]]
        single = [block for block in range(len(first)) if bool(first[block]) != bool(second[block])]
        where = sorted([*shared, *rng.permutation(single)[: depth - len(shared)].tolist()])
    mixed = []
    for block in where:
        gene = parents[int(rng.integers(2))][block]
        mixed.append(gene or max(parent[block] for parent in parents))
    return place(mixed, where, len(first))
