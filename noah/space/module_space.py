"""The space of one module, and how a search changes its widths and mixes those of two subnets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from noah.space.placement import Placement, arrangements, carrying, change_depth, is_placed, place


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
    """Change one module a little, see `SearchSpace.mutate`.

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
    """Mix one module of two subnets, see `SearchSpace.cross_over`.

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
