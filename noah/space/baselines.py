"""Single modules and even mixtures: the plain choices that a search has to beat, and may take.

A single module is one kind alone, as large as a budget allows or close to a number of parameters, or none at all. An
even mixture has several kinds, each with one width in all of its blocks and with about the same number of parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations

from noah.space.budget import Budget
from noah.space.kinds import KINDS, BlockSizes, as_sizes, price
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


def even_mixtures(space: SearchSpace, budget: Budget) -> dict[str, Subnet]:
    """Find the even mixtures of a space inside a budget: of every two of its kinds, and of all.

    Each kind fills its largest depth, at first at its smallest width. Then again and again the kind with the fewest
    parameters among those that can get wider inside the budget takes its next width.

    Args:
        space: The search space; mixtures are left out that lack a kind which cannot be absent.
        budget: What a subnet may cost; mixtures are left out that it does not admit at their smallest widths.

    Returns:
        The kinds, joined by plus signs -> a subnet of the space.
    """
    offered = [name for name, module in space.modules.items() if module.widths and max(module.depths) > 0]
    always = {name for name, module in space.modules.items() if 0 not in module.depths}
    sets = dict.fromkeys([*combinations(offered, 2), tuple(offered)])
    grown = {"+".join(kinds): _evened(space, kinds, budget) for kinds in sets if len(kinds) > 1 and always <= {*kinds}}
    return {name: subnet for name, subnet in grown.items() if subnet is not None}


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


def _evened(space: SearchSpace, kinds: Collection[str], budget: Budget) -> Subnet | None:
    sizes = as_sizes(space.sizes)
    blocks = {name: cheapest_blocks(space.placement, space.blocks, max(space.modules[name].depths)) for name in kinds}

    def mixed(widths: Mapping[str, int]) -> Subnet:
        rows = {name: place([width] * len(blocks[name]), blocks[name], space.blocks) for name, width in widths.items()}
        return Subnet(**rows)

    widths = {name: space.modules[name].widths[0] for name in kinds}
    if not budget.admits(mixed(widths)):
        return None
    while True:
        wider = {
            name: widths | {name: next(width for width in space.modules[name].widths if width > widths[name])}
            for name in kinds
            if widths[name] < space.modules[name].widths[-1]
        }
        fitting = [name for name, changed in wider.items() if budget.admits(mixed(changed))]
        if not fitting:
            return mixed(widths)
        fewest = min(fitting, key=lambda name: len(blocks[name]) * price(name, widths[name], sizes))
        widths = wider[fewest]


def _alone(space: SearchSpace, name: str, row: dict[int, int]) -> Subnet:
    return Subnet(**{name: place(list(row.values()), list(row), space.blocks)})
