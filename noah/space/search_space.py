"""The search space: which subnets a search may draw, and how it moves among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from noah.errors import EmptySpaceError, SettingsError
from noah.space.budget import UNBOUNDED, Budget
from noah.space.module_space import ModuleSpace, cross_widths, mutate_widths
from noah.space.placement import Placement, arrangements, cheapest_blocks, draw_blocks, place
from noah.space.pricing import PricedModule, SizeEstimate, Uniform, count_inside, draw_prices
from noah.space.repair import check_feasible, repair
from noah.space.subnet import MODULES, Subnet, module_parameters

PRESETS: dict[str, dict[str, tuple[int, ...]]] = {
    "paper": {"prompt": (1, 5, 10), "lora": (1, 5, 10), "adapter": (1, 5, 10)},
    "wide": {"prompt": (5, 10, 50, 100), "lora": (5, 10, 50, 100), "adapter": (5, 10, 50, 100)},
    "prompt": {"prompt": (1, 5, 10, 25, 50, 100)},
    "lora": {"lora": (1, 2, 4, 8, 16)},
    "adapter": {"adapter": (1, 2, 4, 8, 16)},
}
"""Widths of each module in the shipped spaces; a module that is not named is absent. `paper` is the space of the
paper's VTAB results, `wide` the second one in circulation; the others search the widths of one module alone."""


_REDRAWS = 20
"""How often a draw is repeated that a bound of work or time refuses, until it is repaired instead."""
_ESTIMATE_DRAWS = 400
"""Subnets of which the share that is inside every bound is found; its standard error is at most 2.5 % of the space."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The subnets that a search may draw (NOAH, section 3.2).

    Every operator takes the random generator and gives a subnet inside the space and inside the budget by
    construction.

    Args:
        blocks: Number of blocks of the backbone.
        embed_dim: Width D of the backbone, which prices the modules.
        modules: The space of "prompt", "lora" and "adapter".
        placement: Whether a module of depth d sits in the first d blocks or in any d of them.

    Raises:
        SettingsError: If widths or depths make no sense; all problems at once.
    """

    blocks: int
    embed_dim: int
    modules: Mapping[str, ModuleSpace]
    placement: Placement = "first"

    def __post_init__(self) -> None:
        problems = [f"space: unknown module {name!r}" for name in set(self.modules) - set(MODULES)]
        problems += [f"space.{name}: missing" for name in set(MODULES) - set(self.modules)]
        for name, module in self.modules.items():
            if any(not 0 <= depth <= self.blocks for depth in module.depths) or not module.depths:
                problems.append(f"space.{name}.depths: {module.depths} must lie between 0 and {self.blocks} blocks")
            if any(width < 1 for width in module.widths) or (not module.widths and module.depths != (0,)):
                problems.append(f"space.{name}.widths: {module.widths} must be whole numbers of at least 1")
        if problems:
            raise SettingsError(sorted(problems))

    def __hash__(self) -> int:
        """Of the values, so that what is computed for a space can be kept."""
        return hash((self.blocks, self.embed_dim, *(self.modules[name] for name in MODULES), self.placement))

    @property
    def largest(self) -> Subnet:
        """The widest width of every module in every block that it may sit in; sizes the supernet.

        Where modules may sit in any blocks these are all blocks, so that this subnet need not be in the space.
        """
        widths = []
        for module in (self.modules[name] for name in MODULES):
            reached = self.blocks if self.placement == "any" and max(module.depths) else max(module.depths)
            widths.append(place(module.widths[-1:] * reached, range(reached), self.blocks))
        return Subnet(*widths)

    @property
    def smallest(self) -> Subnet:
        """The subnet of fewest parameters, in the blocks where it makes least work."""
        return self.narrowest(*(min(self.modules[name].depths) for name in MODULES))

    def narrowest(self, prompt: int, lora: int, adapter: int) -> Subnet:
        """The subnet with these depths and the smallest widths, in the blocks where it makes least work."""
        widths = []
        for name, depth in zip(MODULES, (prompt, lora, adapter), strict=True):
            where = cheapest_blocks(self.placement, self.blocks, depth)
            widths.append(place(self.modules[name].widths[:1] * depth, where, self.blocks))
        return Subnet(*widths)

    def contains(self, subnet: Subnet) -> bool:
        """Whether a search of this space could have drawn the subnet."""
        if subnet.depth != self.blocks:
            return False
        return all(module.contains(self.placement, subnet.widths(name)) for name, module in self.modules.items())

    def size(self, budget: Budget = UNBOUNDED) -> int:
        """Exact number of different subnets, of those inside the budget where one is given.

        Raises:
            ValueError: If the budget bounds more than parameters; `estimate_size` tells about how many there are.
        """
        if budget.others:
            raise ValueError(f"no exact number is known of the subnets inside {budget.describe()}")
        if budget.parameters is None:
            return math.prod(module.size(self.placement, self.blocks) for module in self.modules.values())
        return count_inside(self._priced_modules(), budget.parameters)

    def estimate_size(self, budget: Budget) -> SizeEstimate:
        """About how many different subnets are inside the budget.

        The bound of parameters is counted exactly. Of some hundred subnets inside it, each as likely, the share that
        the other bounds admit is found, always with the same random numbers.
        """
        inside = self.size(budget.of_parameters())
        if not budget.others or not inside:
            return SizeEstimate(inside, 0.0)
        rng = np.random.default_rng(0)
        dearest = self.largest.parameter_count(self.embed_dim)
        limit = dearest if budget.parameters is None else budget.parameters
        drawn = (self._draw_priced(rng, limit, "subnets") for _ in range(_ESTIMATE_DRAWS))
        admitted = sum(map(budget.admits, drawn))
        share = (admitted + 1) / (_ESTIMATE_DRAWS + 2)  # never 0 or 1, where an error of 0 would be claimed
        error = inside * math.sqrt(share * (1 - share) / _ESTIMATE_DRAWS)
        return SizeEstimate(inside * admitted // _ESTIMATE_DRAWS, error)

    def check_budget(self, budget: Budget = UNBOUNDED) -> None:
        """Refuse a budget that admits nothing.

        Raises:
            EmptySpaceError: With the price of the cheapest subnet.
        """
        cheapest = self.smallest.parameter_count(self.embed_dim)
        if budget.parameters is not None and budget.parameters < cheapest:
            raise EmptySpaceError(
                f"The budget of {budget.parameters:,} parameters admits no subnet of the space: the cheapest has "
                f"{cheapest:,}.",
                f"Raise it to at least --budget params={cheapest}, or choose a space with smaller widths or depths.",
            )
        if budget.others:
            check_feasible(self, budget)

    def sample(self, rng: Generator, budget: Budget = UNBOUNDED) -> Subnet:
        """Draw a subnet: for each module a depth, then a width for each of its blocks, then its blocks, all uniformly.

        Under a bound of parameters the draw has the distribution that redrawing until it fits would give, without
        redrawing: the price of each module is drawn first from its exact distribution, then the widths given the price.
        What another bound refuses is redrawn a few times; then the last draw is repaired (`shrink`).

        Raises:
            EmptySpaceError: If the budget admits nothing.
        """
        self.check_budget(budget)
        for _ in range(_REDRAWS if budget.others else 1):
            subnet = self._draw(rng, budget.parameters)
            if budget.admits(subnet):
                break
        return self.shrink(subnet, rng, budget)

    def _draw(self, rng: Generator, limit: int | None) -> Subnet:
        if limit is not None:
            return self._draw_priced(rng, limit, "draws")
        chosen = [
            rng.choice(module.widths, size=int(rng.choice(module.depths))).tolist() if module.widths else []
            for module in (self.modules[name] for name in MODULES)
        ]
        return self._place_randomly(chosen, rng)

    def _draw_priced(self, rng: Generator, limit: int, uniform: Uniform) -> Subnet:
        modules = self._priced_modules()
        prices = draw_prices(modules, rng, limit, uniform)
        chosen = [module.draw(rng, price, uniform) for module, price in zip(modules, prices, strict=True)]
        return self._place_randomly(chosen, rng)

    def _place_randomly(self, chosen: list[list[int]], rng: Generator) -> Subnet:
        placed = (draw_blocks(self.placement, self.blocks, len(widths), rng) for widths in chosen)
        return Subnet(*(place(widths, where, self.blocks) for widths, where in zip(chosen, placed, strict=True)))

    def mutate(
        self,
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
                self.modules[name],
                self.placement,
                subnet.widths(name),
                rng,
                gene_probability=gene_probability,
                depth_probability=depth_probability,
            )
            for name in MODULES
        }
        return self.shrink(Subnet(**widths), rng, budget)

    def cross_over(
        self,
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
                *(cross_widths(self.placement, first.widths(name), second.widths(name), rng) for name in MODULES)
            )
        return self.shrink(child, rng, budget)

    def shrink(self, subnet: Subnet, rng: Generator, budget: Budget) -> Subnet:
        """Bring a subnet of the space inside the budget.

        Random widths go one step down, of the modules that a violated bound depends on. Where no widths could help,
        depths change: under a bound of parameters alone random ones go down once all widths are the smallest; under
        others the nearest feasible depths (`noah.space.repair`) are taken first.

        Raises:
            EmptySpaceError: If the budget admits nothing.
        """
        if budget.admits(subnet):
            return subnet
        self.check_budget(budget)
        return repair(self, subnet, rng, budget)

    def _priced_modules(self) -> tuple[PricedModule, ...]:
        """The three modules in the order of `MODULES`, with their prices in parameters."""
        return tuple(
            PricedModule(
                module.widths,
                tuple(module_parameters(name, width, self.embed_dim) for width in module.widths),
                module.depths,
                tuple(arrangements(self.placement, self.blocks, depth) for depth in module.depths),
            )
            for name, module in ((name, self.modules[name]) for name in MODULES)
        )

    def to_json(self) -> dict[str, Any]:
        """The space as written to files."""
        modules = {
            name: {"widths": list(self.modules[name].widths), "depths": list(self.modules[name].depths)}
            for name in MODULES
        }
        return {**modules, "placement": self.placement}


def quarters(blocks: int) -> tuple[int, ...]:
    """The paper's depths 3, 6, 9 and 12 of 12 blocks as quarters of any number of blocks, rounded up."""
    return tuple(sorted({math.ceil(blocks * quarter / 4) for quarter in (1, 2, 3, 4)}))


def make_space(
    blocks: int,
    embed_dim: int,
    widths: Mapping[str, tuple[int, ...]],
    depths: tuple[int, ...] | None = None,
    placement: Placement = "first",
) -> SearchSpace:
    """A space in which each module named in `widths` may have the given depths (the paper's quarters by default)."""
    depths = tuple(sorted(set(depths))) if depths else quarters(blocks)
    return SearchSpace(
        blocks,
        embed_dim,
        {
            name: ModuleSpace(tuple(sorted(set(widths[name]))), depths) if widths.get(name) else ModuleSpace((), (0,))
            for name in MODULES
        },
        placement,
    )
