"""How subnets are drawn from a search space and varied within a budget (NOAH, section 3.2).

Every operator takes the random generator, and what it returns is within the space and the budget by construction.
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
from noah.space.subnet import Subnet

_REDRAWS = 20
"""How many times to redraw a subnet that costs too much work or time before repairing it instead."""
_ESTIMATE_DRAWS = 400
"""How many draws estimate the share within every bound; its standard error is at most 2.5 % of the space."""


def check_budget(space: SearchSpace, budget: Budget = UNBOUNDED) -> None:
    """Refuse a budget that admits no subnet of the space.

    Raises:
        EmptySpaceError: If it admits none; the message gives the price of the cheapest subnet.
    """
    cheapest = space.smallest.parameter_count(space.sizes)
    if budget.parameters is not None and budget.parameters < cheapest:
        raise EmptySpaceError(
            f"The budget of {budget.parameters:,} parameters admits no subnet of the space: the cheapest has "
            f"{cheapest:,}.",
            f"Raise it to at least --budget params={cheapest}, or choose a space with smaller widths or depths.",
        )
    if budget.others:
        check_feasible(space, budget)


def estimate_size(space: SearchSpace, budget: Budget) -> SizeEstimate:
    """Estimate how many different subnets are within the budget.

    The subnets within the bound on parameters are counted exactly. A few hundred of them are drawn uniformly, always
    with the same random numbers, to find the share that the other bounds admit.
    """
    inside = space.size(budget.of_parameters())
    if not budget.others or not inside:
        return SizeEstimate(inside, 0.0)
    rng = np.random.default_rng(0)
    dearest = space.largest.parameter_count(space.sizes)
    limit = dearest if budget.parameters is None else budget.parameters
    drawn = (_draw_priced(space, rng, limit, "subnets") for _ in range(_ESTIMATE_DRAWS))
    admitted = sum(map(budget.admits, drawn))
    share = (admitted + 1) / (_ESTIMATE_DRAWS + 2)  # never 0 or 1, where an error of 0 would be claimed
    error = inside * math.sqrt(share * (1 - share) / _ESTIMATE_DRAWS)
    return SizeEstimate(inside * admitted // _ESTIMATE_DRAWS, error)


def sample(space: SearchSpace, rng: Generator, budget: Budget = UNBOUNDED) -> Subnet:
    """Draw a subnet: for each module a depth, then a width for each of its blocks, then its blocks, all uniformly.

    Under a bound on parameters, the draw follows the distribution that redrawing until it fits would give, without any
    redrawing: the price of each module is drawn first from its exact distribution, then the widths given that price.
    A draw that another bound refuses is repeated a few times; then the last draw is repaired (`shrink`).

    Raises:
        EmptySpaceError: If the budget admits no subnet.
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

    Each module's depth is redrawn with `depth_probability`, and each of its widths with `gene_probability`; a block
    that did not carry the module before always gets a new width. Where modules may sit in any blocks, half of these
    changes instead move the module, with its width, to a free block. A subnet that exceeds the budget is repaired
    (`shrink`).
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
        for name in space.modules
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
    """Cross two subnets.

    With `module_probability` each module comes whole from one parent or the other. Otherwise each module takes its
    depth from either parent, sits in the blocks that carry it in both parents and in random ones of those that carry
    it in one, and takes each width from either parent that has one there. A subnet that exceeds the budget is repaired
    (`shrink`).
    """
    if module_probability and rng.random() < module_probability:
        parents = first, second
        child = Subnet(**{name: parents[int(rng.integers(2))].widths(name) for name in space.modules})
    else:
        mixed = {
            name: cross_widths(space.placement, first.widths(name), second.widths(name), rng) for name in space.modules
        }
        child = Subnet(**mixed)
    return shrink(space, child, rng, budget)


def shrink(space: SearchSpace, subnet: Subnet, rng: Generator, budget: Budget) -> Subnet:
    """Bring a subnet of the space within the budget.

    Random widths of the modules that a violated bound depends on go down one step at a time. Where widths alone cannot
    help, depths change too: under a bound on parameters alone, random depths go down once all widths are the smallest;
    under other bounds, the nearest feasible depths (`noah.space.repair`) are taken first.

    Raises:
        EmptySpaceError: If the budget admits no subnet.
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
        for module in space.modules.values()
    ]
    return _place_randomly(space, chosen, rng)


def _draw_priced(space: SearchSpace, rng: Generator, limit: int, uniform: Uniform) -> Subnet:
    modules = space.priced_modules()
    prices = draw_prices(modules, rng, limit, uniform)
    chosen = [module.draw(rng, price, uniform) for module, price in zip(modules, prices, strict=True)]
    return _place_randomly(space, chosen, rng)


def _place_randomly(space: SearchSpace, chosen: list[list[int]], rng: Generator) -> Subnet:
    placed = (draw_blocks(space.placement, space.blocks, len(widths), rng) for widths in chosen)
    rows = (place(widths, where, space.blocks) for widths, where in zip(chosen, placed, strict=True))
    return Subnet(**dict(zip(space.modules, rows, strict=True)))
