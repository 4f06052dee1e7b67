"""The search space: which subnets a search may draw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noah.errors import SettingsError
from noah.space.budget import UNBOUNDED, Budget
from noah.space.module_space import (
    ModuleSpace,
    Placement,
    arrangements,
    cheapest_blocks,
    place,
)
from noah.space.pricing import PricedModule, count_inside
from noah.space.subnet import MODULES, Subnet, module_parameters

PRESETS: dict[str, dict[str, tuple[int, ...]]] = {
    "paper": {"prompt": (1, 5, 10), "lora": (1, 5, 10), "adapter": (1, 5, 10)},
    "wide": {"prompt": (5, 10, 50, 100), "lora": (5, 10, 50, 100), "adapter": (5, 10, 50, 100)},
    "prompt": {"prompt": (1, 5, 10, 25, 50, 100)},
    "lora": {"lora": (1, 2, 4, 8, 16)},
    "adapter": {"adapter": (1, 2, 4, 8, 16)},
}
"""The widths of each module in the built-in spaces; a module that is not named is absent. `paper` is the space of the
paper's VTAB results, `wide` is the other one in use; the rest search the widths of a single module."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The subnets that a search may draw (NOAH, section 3.2).

    `noah.space.operators` draws and varies them.

    Args:
        blocks: Number of blocks of the backbone.
        embed_dim: Width D of the backbone, which determines what the modules cost.
        modules: The space of "prompt", "lora" and "adapter".
        placement: Whether a module of depth d sits in the first d blocks or in any d of them.

    Raises:
        SettingsError: If widths or depths make no sense; it lists all problems at once.
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
        """Hash the values, so that what is computed for a space can be cached."""
        return hash((self.blocks, self.embed_dim, *(self.modules[name] for name in MODULES), self.placement))

    @property
    def largest(self) -> Subnet:
        """The largest width of every module in every block that it may sit in; the supernet has this size.

        Where modules may sit in any blocks, that means all blocks, so this subnet need not belong to the space.
        """
        widths = []
        for module in (self.modules[name] for name in MODULES):
            reached = self.blocks if self.placement == "any" and max(module.depths) else max(module.depths)
            widths.append(place(module.widths[-1:] * reached, range(reached), self.blocks))
        return Subnet(*widths)

    @property
    def smallest(self) -> Subnet:
        """The subnet with the fewest parameters, in the blocks where it adds the least work."""
        return self.narrowest(*(min(self.modules[name].depths) for name in MODULES))

    def narrowest(self, prompt: int, lora: int, adapter: int) -> Subnet:
        """The subnet with these depths and the smallest widths, in the blocks where it adds the least work."""
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
        """Count exactly the different subnets, or those within the budget if one is given.

        Raises:
            ValueError: If the budget bounds more than parameters; `estimate_size` gives an estimate then.
        """
        if budget.others:
            raise ValueError(f"no exact number is known of the subnets inside {budget.describe()}")
        if budget.parameters is None:
            return math.prod(module.size(self.placement, self.blocks) for module in self.modules.values())
        return count_inside(self.priced_modules(), budget.parameters)

    def priced_modules(self) -> tuple[PricedModule, ...]:
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
    """Generalize the paper's depths, 3, 6, 9 and 12 of 12 blocks, to quarters of any number of blocks, rounded up."""
    return tuple(sorted({math.ceil(blocks * quarter / 4) for quarter in (1, 2, 3, 4)}))


def make_space(
    blocks: int,
    embed_dim: int,
    widths: Mapping[str, tuple[int, ...]],
    depths: tuple[int, ...] | None = None,
    placement: Placement = "first",
) -> SearchSpace:
    """Make a space in which each module in `widths` may have the given depths (`quarters` by default)."""
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
