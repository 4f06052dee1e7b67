"""Exact arithmetic of a budget: how many subnets cost how much.

The price of a subnet is a sum over its genes, so the distribution of prices follows from convolutions of small tables.
That makes drawing inside a budget exact, and free of redrawing: draw the price of each module, then widths of that
price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PricedModule:
    """One module of a search space with its prices.

    Args:
        widths: Allowed widths.
        prices: What each of them costs in one block, in parameters.
        depths: Allowed numbers of blocks that carry the module.
    """

    widths: tuple[int, ...]
    prices: tuple[int, ...]
    depths: tuple[int, ...]

    def counts(self) -> dict[int, int]:
        """Total price -> number of different settings of the module that cost it."""
        counts: dict[int, int] = {}
        for depth in self.depths:
            for price, count in ways(self.prices, depth).items():
                counts[price] = counts.get(price, 0) + count
        return counts

    def distribution(self) -> Distribution:
        """The distribution of the price when a depth and then the widths are drawn uniformly."""
        choices = max(1, len(self.prices))
        probabilities: dict[int, float] = {}
        for depth in self.depths:
            for price, count in ways(self.prices, depth).items():
                share = count / choices**depth / len(self.depths)
                probabilities[price] = probabilities.get(price, 0.0) + share
        prices = sorted(probabilities)
        return Distribution(np.array(prices), np.array([probabilities[price] for price in prices]))

    def draw(self, rng: Generator, price: int) -> list[int]:
        """Widths that cost exactly `price`, with the distribution of uniform depths and widths given that price."""
        choices = max(1, len(self.prices))
        shares = np.array([ways(self.prices, depth).get(price, 0) / choices**depth for depth in self.depths])
        depth = self.depths[_pick(rng, shares)]
        widths: list[int] = []
        for remaining in range(depth, 0, -1):
            rest = ways(self.prices, remaining - 1)
            index = _pick(rng, np.array([rest.get(price - step, 0) for step in self.prices], dtype=float))
            widths.append(self.widths[index])
            price -= self.prices[index]
        return widths


@dataclass(frozen=True, slots=True)
class Distribution:
    """Prices, ascending, and their probabilities."""

    prices: NDArray[np.int64]
    probabilities: NDArray[np.float64]


@cache
def ways(prices: tuple[int, ...], blocks: int) -> dict[int, int]:
    """Total price -> number of width vectors over that many blocks that cost it."""
    if blocks == 0:
        return {0: 1}
    totals: dict[int, int] = {}
    for total, count in ways(prices, blocks - 1).items():
        for price in prices:
            totals[total + price] = totals.get(total + price, 0) + count
    return totals


@cache
def count_inside(modules: tuple[PricedModule, ...], budget: int) -> int:
    """Exact number of combinations of the three modules' settings that cost at most `budget`."""
    first, second, third = (module.counts() for module in modules)
    budget = min(budget, sum(map(max, (first, second, third))))  # as prices do, it fits into 64 bits; counts do not
    second_prices, second_counts = np.array(list(second)), np.array(list(second.values()), dtype=object)
    third_prices = np.array(sorted(third))
    up_to = np.array([0, *accumulate(third[price] for price in third_prices.tolist())], dtype=object)
    total = 0
    for price, count in first.items():
        admitted = np.searchsorted(third_prices, budget - price - second_prices, side="right")
        total += count * int(second_counts @ up_to[admitted])
    return total


def draw_prices(modules: Sequence[PricedModule], rng: Generator, budget: int) -> list[int]:
    """Prices of the modules, drawn from their joint distribution given that they sum to at most `budget`."""
    tables = [module.distribution() for module in modules]
    drawn: list[int] = []
    for position, table in enumerate(tables):
        left = budget - sum(drawn)
        admitted = [_share_inside(tables[position + 1 :], left - price) for price in table.prices.tolist()]
        drawn.append(int(table.prices[_pick(rng, table.probabilities * np.array(admitted))]))
    return drawn


def _share_inside(tables: Sequence[Distribution], left: int) -> float:
    """Probability that at most two modules with these distributions cost at most `left` together."""
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
