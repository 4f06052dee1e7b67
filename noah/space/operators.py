"""How subnets are drawn from a search space and varied inside a budget (NOAH, section 3.2).

Every operator takes the random generator and gives a subnet inside the space and inside the budget by construction.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from noah.errors import EmptySpaceError
from noah.space.budget import UNBOUNDED, Budget
from noah.space.module_space import cross_widths, draw_blocks, mutate_widths, place
from noah.space.pricing import SizeEstimate, Uniform, draw_prices
from noah.space.repair import check_feasible, repair
from noah.space.search_space import SearchSpace
from noah.space.subnet import MODULES, Subnet

_REDRAWS = 20
"""How often a draw is repeated that a bound of work or time refuses, until it is repaired instead."""
_ESTIMATE_DRAWS = 400
"""Subnets of which the share that is inside every bound is found; its standard error is at most 2.5 % of the space."""


def check_budget(space: SearchSpace, budget: Budget = UNBOUNDED) -> None:
    """Refuse a budget that admits nothing.

    Raises:
        EmptySpaceError: With the price of the cheapest subnet.
    """
    cheapest = space.smallest.parameter_count(space.embed_dim)
    if budget.parameters is not None and budget.parameters < cheapest:
        raise EmptySpaceError(
            f"The budget of {budget.parameters:,} parameters admits no subnet of the space: the cheapest has "
            f"{cheapest:,}.",
            f"Raise it to at least --budget params={cheapest}, or choose a space with smaller widths or depths.",
        )
    if budget.others:
        check_feasible(space, budget)


def estimate_size(space: SearchSpace, budget: Budget) -> SizeEstimate:
    """About how many different subnets are inside the budget.

    The bound of parameters is counted exactly. Of some hundred subnets inside it, each as likely, the share that
    the other bounds admit is found, always with the same random numbers.
    """
    inside = space.size(budget.of_parameters())
    if not budget.others or not inside:
        return SizeEstimate(inside, 0.0)
    rng = np.random.default_rng(0)
    dearest = space.largest.parameter_count(space.embed_dim)
    limit = dearest if budget.parameters is None else budget.parameters
    drawn = (_draw_priced(space, rng, limit, "subnets") for _ in range(_ESTIMATE_DRAWS))
    admitted = sum(map(budget.admits, drawn))
    share = (admitted + 1) / (_ESTIMATE_DRAWS + 2)  # never 0 or 1, where an error of 0 would be claimed
    error = inside * math.sqrt(share * (1 - share) / _ESTIMATE_DRAWS)
    return SizeEstimate(inside * admitted // _ESTIMATE_DRAWS, error)


def sample(space: SearchSpace, rng: Generator, budget: Budget = UNBOUNDED) -> Subnet:
    """Draw a subnet: for each module a depth, then a width for each of its blocks, then its blocks, all uniformly.

    Under a bound of parameters the draw has the distribution that redrawing until it fits would give, without
    redrawing: the price of each module is drawn first from its exact distribution, then the widths given the price.
    What another bound refuses is redrawn a few times; then the last draw is repaired (`shrink`).

    Raises:
        EmptySpaceError: If the budget admits nothing.
    """
    check_budget(space, budget)
    for _ in range(_REDRAWS if budget.others else 1):
        subnet = _draw(space, rng, budget.parameters)
        if budget.admits(subnet):
            break
    return shrink(space, subnet, rng, budget)


def mutate(
    space: SearchSpace,
    subnet: Subnet,
    rng: Generator,
    *,
    gene_probability: float,
    depth_probability: float,
    budget: Budget = UNBOUNDED,
) -> Subnet:
    """Change a subnet a little.

    Each module's depth is drawn anew with `depth_probability`; each width inside it with `gene_probability`, and
    always where the block did not carry the module before. Where modules may sit in any blocks, such a change of a
    width is, every other time, a move of the module with its width to a free block instead. What exceeds the
    budget is repaired (`shrink`).
    """
    widths = {
        name: mutate_widths(
            space.modules[name],
            space.placement,
            subnet.widths(name),
            rng,
            gene_probability=gene_probability,
            depth_probability=depth_probability,
        )
        for name in MODULES
    }
    return shrink(space, Subnet(**widths), rng, budget)


def cross_over(
    space: SearchSpace,
    first: Subnet,
    second: Subnet,
    rng: Generator,
    budget: Budget = UNBOUNDED,
    *,
    module_probability: float = 0.0,
) -> Subnet:
    """Mix two subnets.

    With `module_probability` each module comes whole from either parent. Else each module takes its depth from
    either parent, sits in the blocks that both have and in random ones of the others', and takes each width from
    either parent that has one there. What exceeds the budget is repaired (`shrink`).
    """
    if module_probability and rng.random() < module_probability:
        parents = first, second
        child = Subnet(*(parents[int(rng.integers(2))].widths(name) for name in MODULES))
    else:
        child = Subnet(
            *(cross_widths(space.placement, first.widths(name), second.widths(name), rng) for name in MODULES)
        )
    return shrink(space, child, rng, budget)


def shrink(space: SearchSpace, subnet: Subnet, rng: Generator, budget: Budget) -> Subnet:
    """Bring a subnet of the space inside the budget.

    Random widths go one step down, of the modules that a violated bound depends on. Where no widths could help,
    depths change: under a bound of parameters alone random ones go down once all widths are the smallest; under
    others the nearest feasible depths (`noah.space.repair`) are taken first.

    Raises:
        EmptySpaceError: If the budget admits nothing.
    """
    if budget.admits(subnet):
        return subnet
    check_budget(space, budget)
    return repair(space, subnet, rng, budget)


def _draw(space: SearchSpace, rng: Generator, limit: int | None) -> Subnet:
    if limit is not None:
        return _draw_priced(space, rng, limit, "draws")
    chosen = [
        rng.choice(module.widths, size=int(rng.choice(module.depths))).tolist() if module.widths else []
        for module in (space.modules[name] for name in MODULES)
    ]
    return _place_randomly(space, chosen, rng)


def _draw_priced(space: SearchSpace, rng: Generator, limit: int, uniform: Uniform) -> Subnet:
    modules = space.priced_modules()
    prices = draw_prices(modules, rng, limit, uniform)
    chosen = [module.draw(rng, price, uniform) for module, price in zip(modules, prices, strict=True)]
    return _place_randomly(space, chosen, rng)


def _place_randomly(space: SearchSpace, chosen: list[list[int]], rng: Generator) -> Subnet:
    placed = (draw_blocks(space.placement, space.blocks, len(widths), rng) for widths in chosen)
    return Subnet(*(place(widths, where, space.blocks) for widths, where in zip(chosen, placed, strict=True)))
