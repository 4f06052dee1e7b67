"""Single modules: each kind alone, as large as a budget allows or close to a number of parameters, and none at all.

They are what a mixture has to beat, so a search that may choose them never has to be worse than they are.
"""

from __future__ import annotations

from collections.abc import Collection

from noah.space.budget import Budget
from noah.space.kinds import KINDS, BlockSizes, price
from noah.space.module_space import cheapest_blocks, place
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

LINEAR = "linear"
"""The name of the subnet without modules, whose head alone is trained."""


def singles(space: SearchSpace, budget: Budget) -> dict[str, Subnet]:
    """Find the single modules of a space inside a budget.

    A kind alone fills its largest depth that the budget admits at its smallest width. The widths then grow together
    while the budget admits it, and after that one by one, from the last block to the first.

    Args:
        space: The search space; a kind is left out if the others cannot be absent.
        budget: What a subnet may cost.

    Returns:
        Name of the kind, or `linear` -> a subnet of the space.
    """
    found = {}
    for name, module in space.modules.items():
        others = [other for other in space.modules if other != name]
        if module.widths and all(0 in space.modules[other].depths for other in others):
            alone = _grown(space, name, budget)
            if alone is not None:
                found[name] = alone
    nothing = Subnet.uniform(space.blocks)
    if all(0 in module.depths for module in space.modules.values()) and budget.admits(nothing):
        found[LINEAR] = nothing
    return found


def closest_width(kinds: Collection[str], blocks: int, sizes: BlockSizes, parameters: int) -> int | None:
    """Find the width that brings kinds of module, each with that width in every block, closest to a number.

    Args:
        kinds: One kind, or several that share a width.
        blocks: Blocks of the backbone.
        sizes: Their sizes.
        parameters: The trainable parameters wanted, without the head.

    Returns:
        The width, the smaller of two that are equally close; 1 if one of the kinds has no width to choose, and None if
        none of them has parameters in such a block.
    """

    def cost(width: int) -> int:
        return blocks * sum(price(kind, width, sizes) for kind in kinds)

    if not cost(1):
        return None
    if any(KINDS[kind].is_switch for kind in kinds):
        return 1
    wider = 2
    while cost(wider) < parameters:
        wider *= 2
    return min(range(1, wider + 1), key=lambda width: abs(cost(width) - parameters))


def _grown(space: SearchSpace, name: str, budget: Budget) -> Subnet | None:
    widths = space.modules[name].widths
    for depth in sorted(space.modules[name].depths, reverse=True):
        where = cheapest_blocks(space.placement, space.blocks, depth)
        admitted = [
            width for width in widths if depth and budget.admits(_alone(space, name, dict.fromkeys(where, width)))
        ]
        if not admitted:
            continue
        row = dict.fromkeys(where, admitted[-1])
        wider = widths[widths.index(admitted[-1]) + 1 :]
        for block in reversed(where):
            if wider and budget.admits(_alone(space, name, row | {block: wider[0]})):
                row[block] = wider[0]
        return _alone(space, name, row)
    return None


def _alone(space: SearchSpace, name: str, row: dict[int, int]) -> Subnet:
    return Subnet(**{name: place(list(row.values()), list(row), space.blocks)})
