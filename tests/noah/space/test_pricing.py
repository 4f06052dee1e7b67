"""Exact counting and drawing of prices, against enumeration."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from noah.space.pricing import PricedModule, Uniform, count_inside, draw_prices, ways


@st.composite
def modules(draw: st.DrawFn) -> PricedModule:
    prices = tuple(sorted(draw(st.sets(st.integers(1, 20), min_size=1, max_size=3))))
    depths = tuple(sorted(draw(st.sets(st.integers(0, 3), min_size=1))))
    arrangements = tuple(draw(st.integers(1, 3)) for _ in depths)
    return PricedModule(tuple(range(1, len(prices) + 1)), prices, depths, arrangements)


def every_price(module: PricedModule) -> list[int]:
    """Of every setting: of each depth, each set of blocks and each width in them."""
    return [
        sum(prices)
        for depth, sets in zip(module.depths, module.arrangements, strict=True)
        for prices in itertools.product(module.prices, repeat=depth)
        for _ in range(sets)
    ]


@given(modules())
def test_distribution(module: PricedModule) -> None:
    distribution = module.distribution()
    assert distribution.probabilities.sum() == pytest.approx(1)
    for price, probability in zip(distribution.prices.tolist(), distribution.probabilities.tolist(), strict=True):
        shares = [
            sum(sum(p) == price for p in itertools.product(module.prices, repeat=depth)) / len(module.prices) ** depth
            for depth in module.depths
        ]
        assert probability == pytest.approx(np.mean(shares))
    each = module.distribution("subnets")
    expected = Counter(every_price(module))
    assert each.prices.tolist() == sorted(expected)
    for price, probability in zip(each.prices.tolist(), each.probabilities.tolist(), strict=True):
        assert probability == pytest.approx(expected[price] / expected.total())


@given(st.lists(modules(), min_size=1, max_size=4), st.integers(-1, 240))
@settings(max_examples=40)
def test_count_inside(some: list[PricedModule], budget: int) -> None:
    totals = Counter({0: 1})
    for module in some:
        own = Counter(every_price(module))
        longer: Counter[int] = Counter()
        for (before, count), (step, ways_) in itertools.product(totals.items(), own.items()):
            longer[before + step] += count * ways_
        totals = longer
    assert count_inside(tuple(some), budget) == sum(count for price, count in totals.items() if price <= budget)


def test_count_inside_is_exact_beyond_machine_integers() -> None:
    """Every subnet of 64 widths on 24 blocks, or all but the dearest one: 64^72 has 433 bits."""
    module = PricedModule(tuple(range(1, 65)), tuple(range(1024, 65 * 1024, 1024)), (24,), (1,))
    dearest = 3 * 24 * 64 * 1024
    assert count_inside((module,) * 3, dearest) == 64**72
    assert count_inside((module,) * 3, dearest - 1) == 64**72 - 1
    assert count_inside((module,) * 3, 10**30) == 64**72
    assert count_inside((module,) * 3, 3 * 24 * 1024) == 1
    assert count_inside((module,) * 3, 3 * 24 * 1024 - 1) == 0


@given(st.lists(modules(), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_drawn_widths_cost_what_was_drawn(three: list[PricedModule], seed: int) -> None:
    rng = np.random.default_rng(seed)
    budget = int(rng.integers(sum(min(every_price(m)) for m in three), 361))
    prices = draw_prices(tuple(three), rng, budget)
    assert sum(prices) <= budget
    for module, price in zip(three, prices, strict=True):
        widths = module.draw(rng, price)
        assert len(widths) in module.depths
        assert sum(module.prices[module.widths.index(width)] for width in widths) == price


def test_ways_counts_vectors() -> None:
    assert ways((1, 2), 3) == {3: 1, 4: 3, 5: 3, 6: 1}
    assert ways((), 0) == {0: 1}


def test_every_setting_is_drawn_as_often_where_subnets_are_what_is_uniform() -> None:
    """Widths 1 and 2 at prices 1 and 2: one block in one of three places, or three blocks."""
    module, nothing = PricedModule((1, 2), (1, 2), (1, 3), (3, 1)), PricedModule((), (), (0,), (1,))
    rng = np.random.default_rng(0)
    drawn: Counter[tuple[int, ...]] = Counter()
    for _ in range(4000):
        price, _, _ = draw_prices((module, nothing, nothing), rng, 5, "subnets")
        drawn[tuple(module.draw(rng, price, "subnets"))] += 1
    every = list(itertools.product((1, 2), repeat=3))
    weights = {(1,): 3, (2,): 3} | {widths: 1 for widths in every if sum(widths) <= 5}
    assert chisquare([drawn[w] for w in weights], [4000 * n / 13 for n in weights.values()]).pvalue > 0.01
    assert set(drawn) == set(weights)


@given(st.lists(modules(), min_size=2, max_size=3), st.integers(0, 60), st.sampled_from(["draws", "subnets"]))
@settings(max_examples=15)
def test_prices_are_drawn_as_redrawing_until_they_fit_would_draw_them(
    some: list[PricedModule], slack: int, uniform: Uniform
) -> None:
    budget = sum(min(every_price(module)) for module in some) + slack
    tables = [module.distribution(uniform) for module in some]
    inside: dict[tuple[int, ...], float] = {}
    for chosen in itertools.product(*(range(len(table.prices)) for table in tables)):
        prices = tuple(int(table.prices[index]) for table, index in zip(tables, chosen, strict=True))
        if sum(prices) <= budget:
            inside[prices] = float(
                np.prod([table.probabilities[index] for table, index in zip(tables, chosen, strict=True)])
            )
    rng = np.random.default_rng(0)
    drawn = Counter(tuple(draw_prices(tuple(some), rng, budget, uniform)) for _ in range(500))
    assert set(drawn) <= set(inside)
    likely = max(inside, key=lambda prices: inside[prices])
    share = inside[likely] / sum(inside.values())
    assert abs(drawn[likely] / 500 - share) <= 4.5 * (share * (1 - share) / 500) ** 0.5 + 1e-9
