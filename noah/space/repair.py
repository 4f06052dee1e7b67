"""How a subnet that costs too much is brought within its budget.

A combination of depths is feasible if the narrowest subnet of these depths is within the budget. At fixed depths and
blocks no cost grows when a width gets smaller, so narrowing the widths of a feasible combination always ends within the
budget. Fewer blocks are not always cheaper: prompts that end before the last block are carried on as ordinary tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache

from numpy.random import Generator

from noah.errors import EmptySpaceError
from noah.space.budget import PRICED_MODULES, Budget, Quantity, describe_cost
from noah.space.budget_text import write_limit
from noah.space.kinds import KINDS, PUBLISHED
from noah.space.module_space import carrying, change_depth, cheapest_blocks, place
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

Depths = tuple[int, ...]
"""Number of blocks that carry each kind of `_compared`, in their order."""


@lru_cache(maxsize=16)
def feasible_depths(space: SearchSpace, budget: Budget) -> tuple[Depths, ...]:
    """The combinations of depths whose narrowest subnet is within the budget.

    Where modules may sit in any blocks, the narrowest subnet has them in the cheapest ones (`cheapest_blocks`).
    """
    return tuple(depths for depths in _combinations(space) if budget.admits(_narrowest(space, depths)))


def check_feasible(space: SearchSpace, budget: Budget) -> None:
    """Refuse a budget that admits no subnet of the space.

    Raises:
        EmptySpaceError: If it admits none; the message names the first bound that leaves no combination of depths, and
            the lowest price in its quantity.
    """
    if feasible_depths(space, budget):
        return
    left = [_narrowest(space, depths) for depths in _combinations(space)]
    for number, bound in enumerate(budget.bounds):
        admitted = [subnet for subnet in left if bound.admits(subnet)]
        if not admitted:
            cheapest = min(map(bound.cost, left))
            among = Budget(budget.bounds[:number]).describe()
            raise EmptySpaceError(
                f"The budget of {bound.describe()} admits no subnet of the space: the cheapest"
                f"{f' inside {among}' if among else ''} {'takes' if bound.name == 'latency' else 'has'} "
                f"{describe_cost(bound.name, cheapest)}.",
                f"Raise it to at least --budget {write_limit(bound.name, cheapest)}, or choose a space with smaller "
                "widths or other depths.",
            )
        left = admitted


def repair(space: SearchSpace, subnet: Subnet, rng: Generator, budget: Budget) -> Subnet:
    """Bring a subnet within a budget that admits at least one subnet; see `noah.space.operators.shrink`."""
    if budget.others:
        subnet = _reach_feasible(space, subnet, rng, budget)
    while not budget.admits(subnet):
        violated = [bound.name for bound in budget.bounds if not bound.admits(subnet)]
        steps = _narrower(space, subnet, violated)
        # No step is left only under a bound on parameters alone: under other bounds the depths are feasible by now.
        subnet = steps[int(rng.integers(len(steps)))] if steps else _shallower(space, subnet, rng)
    return subnet


def _narrower(space: SearchSpace, subnet: Subnet, violated: Iterable[Quantity]) -> list[Subnet]:
    """All subnets with one width one step smaller, where that lowers a violated cost."""
    lowering = {name for quantity in violated for name in PRICED_MODULES[quantity]}
    return [
        _with_width(subnet, name, block, max(smaller))
        for name in space.modules
        if name in lowering
        for block in range(space.blocks)
        if (smaller := [width for width in space.modules[name].widths if width < subnet.widths(name)[block]])
    ]


def _shallower(space: SearchSpace, subnet: Subnet, rng: Generator) -> Subnet:
    """Put one module into fewer blocks, one step down in its depths."""
    shallower = [
        (name, max(depths))
        for name in space.modules
        if (depths := [depth for depth in space.modules[name].depths if depth < len(carrying(subnet.widths(name)))])
    ]
    name, depth = shallower[int(rng.integers(len(shallower)))]
    return _with_depth(space, subnet, name, depth, rng)


def _reach_feasible(space: SearchSpace, subnet: Subnet, rng: Generator, budget: Budget) -> Subnet:
    """Change depths, and then blocks, just enough for the narrowest subnet of them to be within the budget."""
    if budget.admits(_narrowed(space, subnet)):
        return subnet
    for name in (
        name for name in space.modules if name not in _compared(space)
    ):  # these cost no work: few blocks are always cheapest
        subnet = _with_depth(space, subnet, name, min(space.modules[name].depths), rng)
    feasible, names = feasible_depths(space, budget), _compared(space)
    current = tuple(len(carrying(subnet.widths(name))) for name in names)
    distances = [sum(abs(a - b) for a, b in zip(current, depths, strict=True)) for depths in feasible]
    nearest = [depths for depths, distance in zip(feasible, distances, strict=True) if distance == min(distances)]
    for name, depth, old in zip(names, nearest[int(rng.integers(len(nearest)))], current, strict=True):
        if depth != old:
            subnet = _with_depth(space, subnet, name, depth, rng)
    while not budget.admits(_narrowed(space, subnet)):
        moves = _moves_to_cheapest_blocks(space, subnet)
        name, block, target = moves[int(rng.integers(len(moves)))]
        subnet = _with_width(_with_width(subnet, name, target, subnet.widths(name)[block]), name, block, 0)
    return subnet


def _moves_to_cheapest_blocks(space: SearchSpace, subnet: Subnet) -> list[tuple[str, int, int]]:
    """The moves (module, block, free block) into the blocks that are cheapest for the module's depth."""
    moves = []
    for name in (name for name in space.modules if not KINDS[name].folds):  # the others cost the same anywhere
        where = carrying(subnet.widths(name))
        cheapest = cheapest_blocks(space.placement, space.blocks, len(where))
        moves += [
            (name, block, target)
            for block in where
            if block not in cheapest
            for target in cheapest
            if target not in where
        ]
    return moves


def _compared(space: SearchSpace) -> list[str]:
    """The kinds whose depths are compared in all combinations: the published ones, and those that cost work.

    All others only cost parameters, so they take their smallest depth where a combination is tried.
    """
    return [name for name in space.modules if name in PUBLISHED or not KINDS[name].folds]


def _combinations(space: SearchSpace) -> Iterable[Depths]:
    return itertools.product(*(space.modules[name].depths for name in _compared(space)))


def _narrowest(space: SearchSpace, depths: Depths) -> Subnet:
    smallest = {name: min(module.depths) for name, module in space.modules.items()}
    return space.narrowest(smallest | dict(zip(_compared(space), depths, strict=True)))


def _narrowed(space: SearchSpace, subnet: Subnet) -> Subnet:
    """The subnet with each of its widths replaced by the smallest one."""
    return Subnet(
        **{
            name: [module.widths[0] if width else 0 for width in subnet.widths(name)]
            for name, module in space.modules.items()
        }
    )


def _with_width(subnet: Subnet, name: str, block: int, width: int) -> Subnet:
    row = list(subnet.widths(name))
    row[block] = width
    return _replaced(subnet, name, row)


def _with_depth(space: SearchSpace, subnet: Subnet, name: str, depth: int, rng: Generator) -> Subnet:
    """Put the module into more or fewer blocks; in a block that is new its width is random."""
    old, choices = subnet.widths(name), space.modules[name].widths
    where = change_depth(space.placement, space.blocks, carrying(old), depth, rng)
    chosen = [old[block] or int(rng.choice(choices)) for block in where]
    return _replaced(subnet, name, place(chosen, where, space.blocks))


def _replaced(subnet: Subnet, name: str, widths: Iterable[int]) -> Subnet:
    return Subnet(**(dict(subnet.present) | {name: widths}))
