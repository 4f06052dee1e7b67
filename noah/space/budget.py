"""The budget: what a subnet may cost, in trainable parameters, in multiply-accumulates and in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from noah.space.budget_text import spell_count, spell_seconds
from noah.space.kinds import KINDS, BlockSizes
from noah.space.subnet import Subnet

Quantity = Literal["parameters", "macs", "latency"]
"""`parameters`: the modules' trainable parameters; `macs`: the merged network's multiply-accumulates for one image;
`latency`: the merged network's seconds for one image."""

_WORKING = tuple(name for name, kind in KINDS.items() if not kind.folds)

PRICED_MODULES: dict[Quantity, tuple[str, ...]] = {"parameters": tuple(KINDS), "macs": _WORKING, "latency": _WORKING}
"""The kinds of module that a quantity depends on: what folds into the backbone's weights has parameters only."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper limit on one quantity.

    Two bounds are equal, and have the same hash, if their quantities, limits and costs are equal; the reason is not
    compared. A cost that is a function equals only itself; noah's own costs are values, or made once per process.

    Args:
        name: The quantity that is limited.
        limit: The largest cost allowed: a whole number for parameters and macs, seconds for latency.
        cost: Computes what a subnet costs; the result must never grow when a width gets smaller. For parameters it has
            to be `Subnet.parameter_count` (`ParameterCost`), because a search space counts these itself.
        reason: Where a computed limit comes from.
    """

    name: Quantity
    limit: float
    cost: Callable[[Subnet], float]
    reason: str = field(default="", compare=False)

    def admits(self, subnet: Subnet) -> bool:
        """Whether a subnet costs no more than the limit."""
        return self.cost(subnet) <= self.limit

    def spell(self) -> str:
        """Write the limit as a number, with a suffix or a unit where that is shorter."""
        return spell_cost(self.name, self.limit)

    def describe(self) -> str:
        """Say the limit in words, such as "640,000 parameters" or "5.47 G multiply-accumulates an image"."""
        return describe_cost(self.name, self.limit)


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds on different quantities, all of which must hold; `Budget()` bounds nothing.

    Two budgets are equal, and have the same hash, if their bounds are equal and in the same order.

    Args:
        bounds: At most one bound for each quantity.

    Raises:
        ValueError: If two bounds limit the same quantity.
    """

    bounds: tuple[Bound, ...] = ()

    def __post_init__(self) -> None:
        if len({bound.name for bound in self.bounds}) < len(self.bounds):
            raise ValueError(f"two bounds of one quantity: {[bound.name for bound in self.bounds]}")

    @property
    def parameters(self) -> int | None:
        """The largest number of parameters allowed, or None if they are not bounded."""
        return next((int(bound.limit) for bound in self.bounds if bound.name == "parameters"), None)

    @property
    def others(self) -> tuple[Bound, ...]:
        """The bounds on everything but parameters; with any of these, a space's size can only be estimated."""
        return tuple(bound for bound in self.bounds if bound.name != "parameters")

    def of_parameters(self) -> Budget:
        """The budget with its bound on parameters alone."""
        return Budget(tuple(bound for bound in self.bounds if bound.name == "parameters"))

    def admits(self, subnet: Subnet) -> bool:
        """Whether a subnet is within every bound."""
        return all(bound.admits(subnet) for bound in self.bounds)

    def costs(self, subnet: Subnet) -> dict[str, float]:
        """What a subnet costs in each bounded quantity."""
        return {bound.name: bound.cost(subnet) for bound in self.bounds}

    def to_json(self) -> dict[str, float]:
        """The limit of each bounded quantity, as written to files."""
        return {bound.name: bound.limit for bound in self.bounds}

    def describe(self) -> str:
        """Say the limits in words, such as "640,000 parameters and 12 ms an image"; empty if nothing is bounded."""
        *most, last = [bound.describe() for bound in self.bounds] or [""]
        return f"{', '.join(most)} and {last}" if most else last


UNBOUNDED = Budget()
"""The budget that bounds nothing."""


@dataclass(frozen=True, slots=True)
class ParameterCost:
    """Counts a subnet's trainable parameters.

    Args:
        sizes: Of the backbone's blocks, or the width D of a plain one's tokens.
    """

    sizes: BlockSizes | int

    def __call__(self, subnet: Subnet) -> int:
        """Trainable parameters of the modules."""
        return subnet.parameter_count(self.sizes)


def parameter_budget(limit: int | None, sizes: BlockSizes | int) -> Budget:
    """A budget of parameters alone; None bounds nothing.

    Args:
        limit: The largest number of parameters.
        sizes: Of the backbone's blocks, or the width D of a plain one's tokens.
    """
    return Budget() if limit is None else Budget((Bound("parameters", limit, ParameterCost(sizes)),))


def spell_cost(name: Quantity, cost: float) -> str:
    """Write a cost as a number, with a suffix or a unit where that is shorter."""
    match name:
        case "parameters":
            return f"{int(cost):,}"
        case "macs":
            return spell_count(cost)
        case "latency":
            return spell_seconds(cost)


def describe_cost(name: Quantity, cost: float) -> str:
    """Say a cost in words, such as "640,000 parameters"."""
    units = {"parameters": "parameters", "macs": "multiply-accumulates an image", "latency": "an image"}
    return f"{spell_cost(name, cost)} {units[name]}"
