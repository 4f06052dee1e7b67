"""The search space: which subnets a search may draw, and how it moves among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.random import Generator

from noah.errors import EmptySpaceError, SettingsError
from noah.pricing import PricedModule, count_inside, draw_prices
from noah.subnet import MODULES, Subnet, module_parameters

PRESETS: dict[str, dict[str, tuple[int, ...]]] = {
    "paper": {"prompt": (1, 5, 10), "lora": (1, 5, 10), "adapter": (1, 5, 10)},
    "wide": {"prompt": (5, 10, 50, 100), "lora": (5, 10, 50, 100), "adapter": (5, 10, 50, 100)},
    "prompt": {"prompt": (1, 5, 10, 25, 50, 100)},
    "lora": {"lora": (1, 2, 4, 8, 16)},
    "adapter": {"adapter": (1, 2, 4, 8, 16)},
}
"""Widths of each module in the shipped spaces; a module that is not named is absent. `paper` is the space of the
paper's VTAB results, `wide` the second one in circulation; the others search the widths of one module alone."""


@dataclass(frozen=True, slots=True)
class ModuleSpace:
    """What one module may look like: its first `depth` blocks carry it, each with one of `widths`.

    Args:
        widths: Allowed widths, ascending, each at least 1.
        depths: Allowed numbers of blocks, ascending; (0,) means that the module is absent.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of different settings of this module."""
        return sum(len(self.widths) ** depth for depth in self.depths)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The subnets that a search may draw (NOAH, section 3.2).

    Every operator takes the random generator and gives a subnet inside the space and inside the budget by
    construction. A budget is the largest allowed `Subnet.parameter_count`; None bounds nothing.

    Args:
        blocks: Number of blocks of the backbone.
        embed_dim: Width D of the backbone, which prices the modules.
        modules: The space of "prompt", "lora" and "adapter".

    Raises:
        SettingsError: If widths or depths make no sense; all problems at once.
    """

    blocks: int
    embed_dim: int
    modules: Mapping[str, ModuleSpace]

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

    @property
    def largest(self) -> Subnet:
        """The widest width of every module up to its largest depth; sizes the supernet."""
        return self._pick_everywhere(max)

    @property
    def smallest(self) -> Subnet:
        """The cheapest subnet of the space."""
        return self._pick_everywhere(min)

    def _pick_everywhere(self, pick: Callable[[tuple[int, ...]], int]) -> Subnet:
        chosen = [
            [pick(space.widths)] * pick(space.depths) if space.widths else []
            for space in (self.modules[name] for name in MODULES)
        ]
        return Subnet(*(_pad(widths, self.blocks) for widths in chosen))

    def contains(self, subnet: Subnet) -> bool:
        """Whether a search of this space could have drawn the subnet."""
        if subnet.depth != self.blocks:
            return False
        for name, space in self.modules.items():
            widths = subnet.widths(name)
            depth = _carried_depth(widths)
            if depth not in space.depths or any(width not in space.widths for width in widths[:depth]):
                return False
        return True

    def size(self, budget: int | None = None) -> int:
        """Exact number of different subnets, of those inside the budget where one is given."""
        if budget is None:
            return math.prod(space.size for space in self.modules.values())
        return count_inside(self._priced_modules(), budget)

    def check_budget(self, budget: int | None) -> None:
        """Refuse a budget that admits nothing.

        Raises:
            EmptySpaceError: With the price of the cheapest subnet.
        """
        cheapest = self.smallest.parameter_count(self.embed_dim)
        if budget is not None and budget < cheapest:
            raise EmptySpaceError(
                f"The budget of {budget:,} parameters admits no subnet of the space: the cheapest has {cheapest:,}.",
                f"Raise it to at least --budget params={cheapest}, or choose a space with smaller widths or depths.",
            )

    def sample(self, rng: Generator, budget: int | None = None) -> Subnet:
        """Draw a subnet: for each module a depth, then a width for each of its blocks, all uniformly.

        Under a budget the draw has the distribution that redrawing until it fits would give, without redrawing: the
        price of each module is drawn first from its exact distribution, then the widths given the price.

        Raises:
            EmptySpaceError: If the budget admits nothing.
        """
        if budget is None:
            chosen = [
                rng.choice(space.widths, size=int(rng.choice(space.depths))).tolist() if space.widths else []
                for space in (self.modules[name] for name in MODULES)
            ]
            return Subnet(*(_pad(widths, self.blocks) for widths in chosen))
        self.check_budget(budget)
        modules = self._priced_modules()
        prices = draw_prices(modules, rng, budget)
        return Subnet(
            *(_pad(module.draw(rng, price), self.blocks) for module, price in zip(modules, prices, strict=True))
        )

    def mutate(
        self,
        subnet: Subnet,
        rng: Generator,
        *,
        gene_probability: float,
        depth_probability: float,
        budget: int | None = None,
    ) -> Subnet:
        """Change a subnet a little.

        Each module's depth is drawn anew with `depth_probability`; each width inside it with `gene_probability`, and
        always where the block did not carry the module before. What exceeds the budget is repaired (`shrink`).
        """
        widths = {}
        for name in MODULES:
            space, old = self.modules[name], subnet.widths(name)
            depth = _carried_depth(old)
            if rng.random() < depth_probability:
                depth = int(rng.choice(space.depths))
            widths[name] = _pad(
                [
                    int(rng.choice(space.widths)) if rng.random() < gene_probability or not old[block] else old[block]
                    for block in range(depth)
                ],
                self.blocks,
            )
        return self.shrink(Subnet(**widths), rng, budget)

    def cross_over(self, first: Subnet, second: Subnet, rng: Generator, budget: int | None = None) -> Subnet:
        """Mix two subnets.

        Each module takes its depth from either parent, and each width from either parent that has one there. What
        exceeds the budget is repaired (`shrink`).
        """
        widths = {}
        for name in MODULES:
            parents = first.widths(name), second.widths(name)
            depth = _carried_depth(parents[int(rng.integers(2))])
            genes = []
            for block in range(depth):
                gene = parents[int(rng.integers(2))][block]
                genes.append(gene or max(parent[block] for parent in parents))
            widths[name] = _pad(genes, self.blocks)
        return self.shrink(Subnet(**widths), rng, budget)

    def shrink(self, subnet: Subnet, rng: Generator, budget: int | None) -> Subnet:
        """Bring a subnet of the space inside the budget by taking random genes one step down, then random depths.

        Raises:
            EmptySpaceError: If the budget admits nothing.
        """
        if budget is None or subnet.parameter_count(self.embed_dim) <= budget:
            return subnet
        self.check_budget(budget)
        spaces = [(name, self.modules[name]) for name in MODULES]
        widths = {name: list(subnet.widths(name)) for name in MODULES}
        while (current := Subnet(**widths)).parameter_count(self.embed_dim) > budget:
            steps = [
                (name, block, max(smaller))
                for name, space in spaces
                for block in range(self.blocks)
                if (smaller := [width for width in space.widths if width < current.widths(name)[block]])
            ]
            if steps:
                name, block, width = steps[int(rng.integers(len(steps)))]
                widths[name][block] = width
                continue
            shallower = [
                (name, max(depths))
                for name, space in spaces
                if (depths := [depth for depth in space.depths if depth < _carried_depth(current.widths(name))])
            ]
            name, depth = shallower[int(rng.integers(len(shallower)))]
            widths[name] = _pad(widths[name][:depth], self.blocks)
        return current

    def _priced_modules(self) -> tuple[PricedModule, ...]:
        """The three modules in the order of `MODULES`, with their prices in parameters."""
        return tuple(
            PricedModule(
                space.widths,
                tuple(module_parameters(name, width, self.embed_dim) for width in space.widths),
                space.depths,
            )
            for name, space in ((name, self.modules[name]) for name in MODULES)
        )

    def to_json(self) -> dict[str, Any]:
        """The space as written to files."""
        return {
            name: {"widths": list(self.modules[name].widths), "depths": list(self.modules[name].depths)}
            for name in MODULES
        }


def _carried_depth(widths: tuple[int, ...]) -> int:
    """Number of blocks up to the last one that carries the module."""
    return max((block + 1 for block, width in enumerate(widths) if width), default=0)


def _pad(widths: list[int], blocks: int) -> list[int]:
    return widths + [0] * (blocks - len(widths))


def quarters(blocks: int) -> tuple[int, ...]:
    """The paper's depths 3, 6, 9 and 12 of 12 blocks as quarters of any number of blocks, rounded up."""
    return tuple(sorted({math.ceil(blocks * quarter / 4) for quarter in (1, 2, 3, 4)}))


def make_space(
    blocks: int, embed_dim: int, widths: Mapping[str, tuple[int, ...]], depths: tuple[int, ...] | None = None
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
    )
