"""Exact arithmetic of a budget: how many subnets cost how much.

The price of a subnet is a sum over its genes, so the distribution of prices follows from convolutions of small tables.
Drawing within a budget is therefore exact and needs no redrawing: draw the price of each module, then widths that cost
that much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
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

    def counts(self) -> dict[int, int]:
        """Map each total price to the number of different settings of the module that cost it."""
        counts: dict[int, int] = {}
        for depth, sets in zip(self.depths, self.arrangements, strict=True):
            for price, count in ways(self.prices, depth).items():
                counts[price] = counts.get(price, 0) + sets * count
        return counts

    def distribution(self, uniform: Uniform = "draws") -> Distribution:
        """The distribution of the module's total price."""
        probabilities: dict[int, float] = {}
        if uniform == "subnets":
            counts = self.counts()
            total = sum(counts.values())
            probabilities = {price: count / total for price, count in counts.items()}
        else:
            choices = max(1, len(self.prices))
            for depth in self.depths:
                for price, count in ways(self.prices, depth).items():
                    share = count / choices**depth / len(self.depths)
                    probabilities[price] = probabilities.get(price, 0.0) + share
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


@cache
def count_inside(modules: tuple[PricedModule, ...], budget: int) -> int:
    """Count exactly the combinations of the three modules' settings that cost at most `budget`."""
    first, second, third = (module.counts() for module in modules)
    budget = min(budget, sum(map(max, (first, second, third))))  # fits into 64 bits like prices; counts do not
    second_prices, second_counts = np.array(list(second)), np.array(list(second.values()), dtype=object)
    third_prices = np.array(sorted(third))
    up_to = np.array([0, *accumulate(third[price] for price in third_prices.tolist())], dtype=object)
    total = 0
    for price, count in first.items():
        admitted = np.searchsorted(third_prices, budget - price - second_prices, side="right")
        total += count * int(second_counts @ up_to[admitted])
    return total


def draw_prices(
    modules: tuple[PricedModule, ...], rng: Generator, budget: int, uniform: Uniform = "draws"
) -> list[int]:
    """Draw the modules' prices from their joint distribution, given that they sum to at most `budget`."""
    drawn: list[int] = []
    for position in range(len(modules)):
        prices, weights = _admitted_prices(modules[position:], budget - sum(drawn), uniform)
        drawn.append(int(prices[_pick(rng, weights)]))
    return drawn


@lru_cache(maxsize=128)  # every draw needs those of the first module
def _admitted_prices(
    modules: tuple[PricedModule, ...], left: int, uniform: Uniform
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Prices of the first module, each weighted by its probability if all modules are to cost at most `left`."""
    table, *others = [_distribution(module, uniform) for module in modules]
    admitted = [_share_inside(others, left - price) for price in table.prices.tolist()]
    return table.prices, table.probabilities * np.array(admitted)


@lru_cache(maxsize=16)
def _distribution(module: PricedModule, uniform: Uniform) -> Distribution:
    return module.distribution(uniform)


def _share_inside(tables: Sequence[Distribution], left: int) -> float:
    """The probability that modules with these distributions, two at most, cost at most `left` together."""
    if left < 0:
        return 0.0
    if not tables:
        return 1.0
    if len(tables) == 1:
        return float(tables[0].probabilities[tables[0].prices <= left].sum())
    first, last = tables
    cumulative = np.concatenate([[0.0], np.cumsum(last.probabilities)])
    return float(first.probabilities @ cumulative[np.searchsorted(last.prices, left - first.prices, side="right")])


def _pick(rng: Generator, weights: NDArray[np.float64]) -> int:
    return int(rng.choice(len(weights), p=weights / weights.sum()))
