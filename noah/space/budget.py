"""The budget: what a subnet may cost, in trainable parameters, in work and in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from noah.space.budget_text import spell_count, spell_seconds
from noah.space.subnet import MODULES, Subnet

Quantity = Literal["parameters", "macs", "latency"]
"""`parameters`: trainable ones of the modules; `macs`: multiply-accumulates of the merged network for one image;
`latency`: its seconds for one image."""

PRICED_MODULES: dict[Quantity, tuple[str, ...]] = {
    "parameters": MODULES,
    "macs": ("prompt", "adapter"),
    "latency": ("prompt", "adapter"),
}
"""The modules that a quantity depends on: LoRA folds into the backbone's weights, so it has parameters only."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of one quantity.

    Two bounds are equal, and have the same hash, if quantity, limit and cost are equal. A cost that is a function
    equals itself alone; the costs of noah are values, or made once a process. The reason takes no part.

    Args:
        name: The quantity.
        limit: The largest allowed: a whole number for parameters and macs, seconds for latency.
        cost: What a subnet costs; it never grows when a width gets smaller. For parameters it has to be
            `Subnet.parameter_count` (`ParameterCost`), because a search space counts these itself.
        reason: Where a limit that was computed comes from.
    """

    name: Quantity
    limit: float
    cost: Callable[[Subnet], float]
    reason: str = field(default="", compare=False)

    def admits(self, subnet: Subnet) -> bool:
        """Whether a subnet costs no more than the limit."""
        return self.cost(subnet) <= self.limit

    def spell(self) -> str:
        """The limit as a number, with a suffix or a unit where that is shorter."""
        return spell_cost(self.name, self.limit)

    def describe(self) -> str:
        """The limit in words, such as "640,000 parameters" or "5.47 G multiply-accumulates an image"."""
        return describe_cost(self.name, self.limit)


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds that all hold, of different quantities; `Budget()` bounds nothing.

    Two budgets are equal, and have the same hash, if their bounds are equal and in the same order.

    Args:
        bounds: At most one of each quantity.

    Raises:
        ValueError: If two bound the same quantity.
    """

    bounds: tuple[Bound, ...] = ()

    def __post_init__(self) -> None:
        if len({bound.name for bound in self.bounds}) < len(self.bounds):
            raise ValueError(f"two bounds of one quantity: {[bound.name for bound in self.bounds]}")

    @property
    def parameters(self) -> int | None:
        """The largest number of parameters, or None."""
        return next((int(bound.limit) for bound in self.bounds if bound.name == "parameters"), None)

    @property
    def others(self) -> tuple[Bound, ...]:
        """The bounds of everything but parameters; only these make a space's size a matter of estimates."""
        return tuple(bound for bound in self.bounds if bound.name != "parameters")

    def of_parameters(self) -> Budget:
        """The budget without its bounds of anything but parameters."""
        return Budget(tuple(bound for bound in self.bounds if bound.name == "parameters"))

    def admits(self, subnet: Subnet) -> bool:
        """Whether a subnet is inside every bound."""
        return all(bound.admits(subnet) for bound in self.bounds)

    def costs(self, subnet: Subnet) -> dict[str, float]:
        """What a subnet costs, for each bounded quantity."""
        return {bound.name: bound.cost(subnet) for bound in self.bounds}

    def to_json(self) -> dict[str, float]:
        """The limits by quantity, as written to files."""
        return {bound.name: bound.limit for bound in self.bounds}

    def describe(self) -> str:
        """The limits in words, such as "640,000 parameters and 12 ms an image"; empty where nothing is bounded."""
        *most, last = [bound.describe() for bound in self.bounds] or [""]
        return f"{', '.join(most)} and {last}" if most else last


UNBOUNDED = Budget()
"""The budget that bounds nothing."""


@dataclass(frozen=True, slots=True)
class ParameterCost:
    """The parameters of a subnet.

    Args:
        embed_dim: Width D of the backbone.
    """

    embed_dim: int

    def __call__(self, subnet: Subnet) -> int:
        """Trainable parameters of the modules."""
        return subnet.parameter_count(self.embed_dim)


def parameter_budget(limit: int | None, embed_dim: int) -> Budget:
    """A budget of parameters alone; None bounds nothing.

    Args:
        limit: The largest number of parameters.
        embed_dim: Width D of the backbone.
    """
    return Budget() if limit is None else Budget((Bound("parameters", limit, ParameterCost(embed_dim)),))


def spell_cost(name: Quantity, cost: float) -> str:
    """A cost as a number."""
    match name:
        case "parameters":
            return f"{int(cost):,}"
        case "macs":
            return spell_count(cost)
        case "latency":
            return spell_seconds(cost)


def describe_cost(name: Quantity, cost: float) -> str:
    """A cost in words."""
    units = {"parameters": "parameters", "macs": "multiply-accumulates an image", "latency": "an image"}
    return f"{spell_cost(name, cost)} {units[name]}"
