"""Exact arithmetic of a budget: how many subnets cost how much.

The price of a subnet is a sum over its genes, so the distribution of prices follows from convolutions of small tables.
Drawing within a budget is therefore exact and needs no redrawing: draw the price of each module, then widths that cost
that much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Uniform = Literal["draws", "subnets"]
"""What is drawn uniformly. "draws": a depth and then the widths, as a search draws. "subnets": every subnet of the
space is equally likely, and almost all of them are deep."""


@dataclass(frozen=True, slots=True)
class PricedModule:
    """One module of a search space with its prices.

    Args:
        widths: The widths allowed.
        prices: What each width costs in one block, in parameters.
        depths: The numbers of blocks that may carry the module.
        arrangements: For each depth, how many sets of blocks the module can sit in; the price is the same in all.
    """

    widths: tuple[int, ...]
    prices: tuple[int, ...]
    depths: tuple[int, ...]
    arrangements: tuple[int, ...]

    @property
    def dearest(self) -> int:
        """The price of the dearest setting."""
        return max(self.prices, default=0) * max(self.depths)

    @property
    def size(self) -> int:
        """Number of different settings."""
        return sum(sets * len(self.prices) ** depth for depth, sets in zip(self.depths, self.arrangements, strict=True))

    def factors(self, uniform: Uniform) -> dict[int, float]:
        """Depth -> the probability of each vector of that many widths, in one or another set of blocks."""
        if uniform == "subnets":
            return {depth: sets / self.size for depth, sets in zip(self.depths, self.arrangements, strict=True)}
        choices = max(1, len(self.prices))
        return {depth: 1 / choices**depth / len(self.depths) for depth in self.depths}

    def distribution(self, uniform: Uniform = "draws") -> Distribution:
        """The distribution of the module's total price."""
        probabilities: dict[int, float] = {}
        for depth, factor in self.factors(uniform).items():
            for price, count in ways(self.prices, depth).items():
                probabilities[price] = probabilities.get(price, 0.0) + count * factor
        prices = sorted(probabilities)
        return Distribution(np.array(prices), np.array([probabilities[price] for price in prices]))

    def draw(self, rng: Generator, price: int, uniform: Uniform = "draws") -> list[int]:
        """Draw a depth and that many widths from their distribution, given that they cost exactly `price`."""
        choices = max(1, len(self.prices))
        counts = [ways(self.prices, depth).get(price, 0) for depth in self.depths]
        if uniform == "subnets":
            exact = [count * sets for count, sets in zip(counts, self.arrangements, strict=True)]
            shares = np.array([count / sum(exact) for count in exact])
        else:
            shares = np.array([count / choices**depth for count, depth in zip(counts, self.depths, strict=True)])
        depth = self.depths[_pick(rng, shares)]
        widths: list[int] = []
        for remaining in range(depth, 0, -1):
            rest = ways(self.prices, remaining - 1)
            index = _pick(rng, np.array([rest.get(price - step, 0) for step in self.prices], dtype=float))
            widths.append(self.widths[index])
            price -= self.prices[index]
        return widths


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """The number of subnets within a budget.

    Args:
        number: Exact where only parameters are bounded, otherwise an estimate.
        standard_error: The standard error of the estimate; 0 where the number is exact.
    """

    number: int
    standard_error: float

    def to_json(self) -> dict[str, float]:
        """The estimate as written to best.json."""
        return {"inside_budget": self.number, "inside_budget_standard_error": self.standard_error}


@dataclass(frozen=True, slots=True)
class Distribution:
    """Prices in ascending order, with their probabilities."""

    prices: NDArray[np.int64]
    probabilities: NDArray[np.float64]


@cache
def ways(prices: tuple[int, ...], blocks: int) -> dict[int, int]:
    """Map each total price to the number of width vectors over so many blocks that cost it."""
    if blocks == 0:
        return {0: 1}
    totals: dict[int, int] = {}
    for total, count in ways(prices, blocks - 1).items():
        for price in prices:
            totals[total + price] = totals.get(total + price, 0) + count
    return totals


def count_inside(modules: tuple[PricedModule, ...], budget: int) -> int:
    """Exact number of combinations of the modules' settings that cost at most `budget`.

    The numbers of combinations by price are the coefficients of a product of polynomials. All of them lie side by side
    in one large integer, wide enough apart that they never touch (Kronecker substitution), so that adding a price to
    every combination is a shift, and each block of each module takes as many shifts as the module has widths.
    """
    budget = min(budget, sum(module.dearest for module in modules))
    if budget < 0:
        return 0
    unit = math.gcd(*(price for module in modules for price in module.prices)) or 1
    slots = budget // unit + 1
    words = math.prod(module.size for module in modules).bit_length() // 32 + 1
    inside = (1 << 32 * words * slots) - 1
    counts = 1
    for module in sorted(modules, key=lambda module: module.dearest):  # the integers stay short for longer
        arrangements = dict(zip(module.depths, module.arrangements, strict=True))
        deeper, combined = counts, counts * arrangements.get(0, 0)
        for depth in range(1, max(module.depths) + 1):
            deeper = sum(deeper << 32 * words * (price // unit) for price in module.prices) & inside
            combined += deeper * arrangements.get(depth, 0)
        counts = combined
    digits = np.frombuffer(counts.to_bytes(4 * words * slots, "little"), "<u4").reshape(slots, words)
    sums: list[int] = digits.sum(axis=0, dtype=np.uint64).tolist()
    return sum(digit << 32 * place for place, digit in enumerate(sums))


def draw_prices(
    modules: tuple[PricedModule, ...], rng: Generator, budget: int, uniform: Uniform = "draws"
) -> list[int]:
    """Draw the modules' prices from their joint distribution, given that they sum to at most `budget`."""
    drawn: list[int] = []
    budget = min(budget, sum(module.dearest for module in modules))
    for position in range(len(modules)):
        prices, weights = _admitted_prices(modules[position:], budget - sum(drawn), budget, uniform)
        drawn.append(int(prices[_pick(rng, weights)]))
    return drawn


@lru_cache(maxsize=128)  # every draw needs those of the first module
def _admitted_prices(
    modules: tuple[PricedModule, ...], left: int, budget: int, uniform: Uniform
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Prices of the first module, and weights: how likely each is while all of the modules cost at most `left`."""
    table, others = _distribution(modules[0], uniform), modules[1:]
    rest = left - table.prices
    if left >= sum(module.dearest for module in modules):
        return table.prices, table.probabilities
    inside = _shares_inside(others, budget, uniform)[np.maximum(rest, 0)] if others else np.ones(len(rest))
    return table.prices, np.where(rest < 0, 0.0, table.probabilities * inside)


@lru_cache(maxsize=64)
def _distribution(module: PricedModule, uniform: Uniform) -> Distribution:
    return module.distribution(uniform)


@lru_cache(maxsize=32)
def _shares_inside(modules: tuple[PricedModule, ...], budget: int, uniform: Uniform) -> NDArray[np.float64]:
    """For each amount from 0 to `budget`, the probability that the modules together cost no more than it."""
    shares = np.ones(budget + 1)
    for module in modules:
        deeper, combined = shares, np.zeros(budget + 1)
        factors = module.factors(uniform)
        for depth in range(max(module.depths) + 1):
            if depth:
                shallower, deeper = deeper, np.zeros(budget + 1)
                for price in (price for price in module.prices if price <= budget):
                    deeper[price:] += shallower[: budget + 1 - price]
            combined += factors.get(depth, 0.0) * deeper
        shares = combined
    return shares


def _pick(rng: Generator, weights: NDArray[np.float64]) -> int:
    """What `rng.choice(len(weights), p=weights / weights.sum())` gives, from the same random number, in less time."""
    cumulative = np.cumsum(weights / weights.sum())
    cumulative /= cumulative[-1]
    return int(cumulative.searchsorted(rng.random(), side="right"))
