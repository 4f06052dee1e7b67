"""The search space: which subnets a search may draw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noah.errors import SettingsError
from noah.space.budget import UNBOUNDED, Budget
from noah.space.kinds import KINDS, PUBLISHED, BlockSizes, as_sizes, in_order, price
from noah.space.module_space import ModuleSpace, Placement, arrangements, cheapest_blocks, filled_blocks, place
from noah.space.pricing import PricedModule, count_inside
from noah.space.subnet import Subnet, unknown_kind

PRESETS: dict[str, dict[str, tuple[int, ...]]] = {
    "paper": {"prompt": (1, 5, 10), "lora": (1, 5, 10), "adapter": (1, 5, 10)},
    "wide": {"prompt": (5, 10, 50, 100), "lora": (5, 10, 50, 100), "adapter": (5, 10, 50, 100)},
    "prompt": {"prompt": (1, 5, 10, 25, 50, 100)},
    "lora": {"lora": (1, 2, 4, 8, 16)},
    "adapter": {"adapter": (1, 2, 4, 8, 16)},
    "mixed": {"lora": (2, 4, 6, 8, 12), "adapter": (4, 8, 12, 16), "bias": (1,)},
    "mergeable": {name: kind.widths for name, kind in KINDS.items() if kind.folds},
    "full": {name: kind.widths for name, kind in KINDS.items()},
}
"""Widths of each module in the shipped spaces; a module that is not named is absent. `paper` is the space of the
paper's VTAB results, `wide` the second one in circulation; the next three search the widths of one module alone.
`mixed` has the kinds that proved best by themselves and together (docs/choice.md).
`mergeable` has whatever folds into the backbone's weights, so that its winner costs what the plain backbone costs, and
`full` has every kind; in these three each module may be absent, too."""

MAY_BE_ABSENT = ("mixed", "mergeable", "full")
"""Presets whose depths include 0."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The subnets that a search may draw (NOAH, section 3.2).

    `noah.space.operators` draws and varies them.

    Args:
        blocks: Number of blocks of the backbone.
        sizes: Of the backbone's blocks, which price the modules; a number stands for a plain vision transformer with
            tokens of that width.
        modules: The space of each kind of module; a kind that is not named is absent. The published three are always
            there, because a seed's random numbers are drawn for them whether they are absent or not.
        placement: Whether a module of depth d sits in the first d blocks, in the last d, or in any d of them.

    Raises:
        SettingsError: If widths or depths make no sense; it lists all problems at once.
    """

    blocks: int
    sizes: BlockSizes | int
    modules: Mapping[str, ModuleSpace]
    placement: Placement = "first"

    def __post_init__(self) -> None:
        problems = [f"space: {unknown_kind(name)}" for name in self.modules if name not in KINDS]
        for name, module in self.modules.items():
            if any(list(row) != sorted(set(row)) for row in (module.widths, module.depths)):
                problems.append(f"space.{name}: {module.widths} and {module.depths} must ascend, with no number twice")
            if any(not 0 <= depth <= self.blocks for depth in module.depths) or not module.depths:
                problems.append(f"space.{name}.depths: {module.depths} must lie between 0 and {self.blocks} blocks")
            if any(width < 1 for width in module.widths) or (not module.widths and module.depths != (0,)):
                problems.append(f"space.{name}.widths: {module.widths} must be whole numbers of at least 1")
            if name in KINDS and KINDS[name].is_switch and any(width > 1 for width in module.widths):
                problems.append(f"space.{name}.widths: {module.widths} may hold 1 alone: it is on or off")
        if problems:
            raise SettingsError(sorted(problems))
        named = {name: ModuleSpace((), (0,)) for name in PUBLISHED} | dict(self.modules)
        object.__setattr__(self, "sizes", as_sizes(self.sizes))
        object.__setattr__(self, "modules", {name: named[name] for name in in_order(named)})

    def __hash__(self) -> int:
        """Of the values, so that what is computed for a space can be kept."""
        return hash((self.blocks, self.sizes, *self.modules.values(), self.placement))

    @property
    def embed_dim(self) -> int:
        """Width D of the tokens."""
        return as_sizes(self.sizes).embed_dim

    @property
    def largest(self) -> Subnet:
        """The largest width of every module in every block that it may sit in; the supernet has this size.

        Where modules may sit in any blocks, that means all blocks, so this subnet need not belong to the space.
        """
        widths = {}
        for name, module in self.modules.items():
            reached = self.blocks if self.placement == "any" and max(module.depths) else max(module.depths)
            widths[name] = place(
                module.widths[-1:] * reached, filled_blocks(self.placement, self.blocks, reached), self.blocks
            )
        return Subnet(**widths)

    @property
    def smallest(self) -> Subnet:
        """The subnet of fewest parameters, in the blocks where it makes least work."""
        return self.narrowest({name: min(module.depths) for name, module in self.modules.items()})

    def narrowest(self, depths: Mapping[str, int]) -> Subnet:
        """The subnet with a depth for each kind and the smallest widths, in the blocks where it makes least work."""
        widths = {}
        for name, depth in depths.items():
            where = cheapest_blocks(self.placement, self.blocks, depth)
            widths[name] = place(self.modules[name].widths[:1] * depth, where, self.blocks)
        return Subnet(**widths)

    def contains(self, subnet: Subnet) -> bool:
        """Whether a search of this space could have drawn the subnet."""
        if subnet.depth != self.blocks or not set(subnet.kinds) <= set(self.modules):
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
        """The modules in their order, with their prices in parameters."""
        sizes = as_sizes(self.sizes)
        return tuple(
            PricedModule(
                module.widths,
                tuple(price(name, width, sizes) for width in module.widths),
                module.depths,
                tuple(arrangements(self.placement, self.blocks, depth) for depth in module.depths),
            )
            for name, module in self.modules.items()
        )

    def to_json(self) -> dict[str, Any]:
        """The space as written to files."""
        modules = {
            name: {"widths": list(module.widths), "depths": list(module.depths)}
            for name, module in self.modules.items()
        }
        return {**modules, "placement": self.placement}


def quarters(blocks: int) -> tuple[int, ...]:
    """Generalize the paper's depths, 3, 6, 9 and 12 of 12 blocks, to quarters of any number of blocks, rounded up."""
    return tuple(sorted({math.ceil(blocks * quarter / 4) for quarter in (1, 2, 3, 4)}))


def make_space(
    blocks: int,
    sizes: BlockSizes | int,
    widths: Mapping[str, tuple[int, ...]],
    depths: tuple[int, ...] | None = None,
    placement: Placement = "first",
) -> SearchSpace:
    """Make a space in which each module in `widths` may have the given depths (`quarters` by default)."""
    depths = quarters(blocks) if depths is None else tuple(sorted(set(depths)))
    modules = {name: ModuleSpace(tuple(sorted(set(row))), depths) for name, row in widths.items() if row}
    return SearchSpace(blocks, sizes, modules, placement)
