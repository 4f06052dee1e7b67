"""SearchSpace: every operator stays inside the space and inside the budget."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from noah.errors import EmptySpaceError, SettingsError
from noah.space import PRESETS, ModuleSpace, SearchSpace, make_space, quarters
from noah.subnet import MODULES, Subnet
from tests.noah.strategies import spaces


def enumerate_space(space: SearchSpace) -> list[Subnet]:
    """Every subnet of a small space, written out."""
    choices = []
    for name in MODULES:
        module = space.modules[name]
        choices.append(
            [
                (*widths, *[0] * (space.blocks - depth))
                for depth in module.depths
                for widths in itertools.product(module.widths, repeat=depth)
            ]
        )
    return [Subnet(*widths) for widths in itertools.product(*choices)]


@st.composite
def spaces_with_budgets(draw: st.DrawFn) -> tuple[SearchSpace, int]:
    space = draw(spaces(max_blocks=4))
    cheapest, dearest = (subnet.parameter_count(space.embed_dim) for subnet in (space.smallest, space.largest))
    return space, draw(st.integers(cheapest, dearest))


seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(spaces(max_blocks=3), st.floats(0, 1))
@settings(deadline=None)
def test_the_size_is_exact(space: SearchSpace, share: float) -> None:
    assume(space.size() <= 20_000)
    every = enumerate_space(space)
    assert len(set(every)) == len(every) == space.size()
    assert all(space.contains(subnet) for subnet in every)
    prices = [subnet.parameter_count(space.embed_dim) for subnet in every]
    budget = int(min(prices) + share * (max(prices) - min(prices)))
    assert space.size(budget) == sum(price <= budget for price in prices)
    assert space.size(min(prices) - 1) == 0
    assert space.largest in every
    assert space.smallest.parameter_count(space.embed_dim) == min(prices)


@given(spaces_with_budgets(), seeds)
@settings(deadline=None)
def test_sampling_stays_inside(case: tuple[SearchSpace, int], rng: np.random.Generator) -> None:
    space, budget = case
    for _ in range(5):
        assert space.contains(space.sample(rng))
        inside = space.sample(rng, budget)
        assert space.contains(inside)
        assert inside.parameter_count(space.embed_dim) <= budget
        assert inside.fits_inside(space.largest)


@given(spaces_with_budgets(), seeds, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_mutation_crossover_and_shrinking_stay_inside(
    case: tuple[SearchSpace, int], rng: np.random.Generator, gene: float, depth: float
) -> None:
    space, budget = case
    first, second = space.sample(rng), space.sample(rng)
    children = [
        space.mutate(first, rng, gene_probability=gene, depth_probability=depth, budget=budget),
        space.cross_over(first, second, rng, budget),
        space.shrink(first, rng, budget),
    ]
    for child in children:
        assert space.contains(child)
        assert child.parameter_count(space.embed_dim) <= budget
    assert space.contains(space.mutate(first, rng, gene_probability=gene, depth_probability=depth))
    assert space.contains(space.cross_over(first, second, rng))


@given(spaces(), seeds)
def test_operators_without_change(space: SearchSpace, rng: np.random.Generator) -> None:
    subnet = space.sample(rng)
    assert space.mutate(subnet, rng, gene_probability=0, depth_probability=0) == subnet
    assert space.cross_over(subnet, subnet, rng) == subnet
    assert space.shrink(subnet, rng, subnet.parameter_count(space.embed_dim)) == subnet


@given(spaces(), seeds)
def test_crossover_takes_every_width_from_a_parent(space: SearchSpace, rng: np.random.Generator) -> None:
    first, second = space.sample(rng), space.sample(rng)
    child = space.cross_over(first, second, rng)
    for name in MODULES:
        for width, *parents in zip(child.widths(name), first.widths(name), second.widths(name), strict=True):
            assert width in parents or not width


def test_sampling_inside_a_budget_has_the_distribution_of_rejection() -> None:
    space = make_space(2, 8, PRESETS["paper"], (1, 2))
    budget, draws = 400, 6000
    rng = np.random.default_rng(0)
    direct = Counter(space.sample(rng, budget) for _ in range(draws))
    rejected: Counter[Subnet] = Counter()
    while rejected.total() < draws:
        subnet = space.sample(rng)
        if subnet.parameter_count(space.embed_dim) <= budget:
            rejected[subnet] += 1
    # Two samples of one distribution: the statistic has the mean 1 a cell, and a standard deviation of sqrt(2 / cells).
    cells = direct.keys() | rejected.keys()
    statistic = sum((direct[c] - rejected[c]) ** 2 / (direct[c] + rejected[c]) for c in cells) / len(cells)
    assert statistic < 1 + 4 * (2 / len(cells)) ** 0.5


def test_the_wide_space_is_almost_all_over_the_published_budget() -> None:
    """As the published code counts (dead tokens too), 1.4 % of random draws pass 0.64 M on ViT-B/16."""
    space = make_space(12, 768, PRESETS["wide"])
    rng = np.random.default_rng(0)
    passed = sum(space.sample(rng).reference_count(768, 100) <= 640_000 for _ in range(4000)) / 4000
    assert passed == pytest.approx(0.014, abs=0.006)
    assert space.sample(rng, 640_000).parameter_count(768) <= 640_000


def test_mutation_changes_widths_and_depths() -> None:
    space = make_space(12, 768, PRESETS["paper"])
    rng = np.random.default_rng(0)
    subnet = space.sample(rng)
    widths = [space.mutate(subnet, rng, gene_probability=1, depth_probability=0) for _ in range(20)]
    depths = [space.mutate(subnet, rng, gene_probability=0, depth_probability=1) for _ in range(20)]
    assert len(set(widths)) == 20
    assert all([bool(w) for w in child.lora] == [bool(w) for w in subnet.lora] for child in widths)
    assert len({sum(map(bool, child.lora)) for child in depths}) > 1


def test_presets() -> None:
    paper = make_space(12, 768, PRESETS["paper"])
    assert quarters(12) == (3, 6, 9, 12)
    assert {paper.modules[name] for name in MODULES} == {ModuleSpace((1, 5, 10), (3, 6, 9, 12))}
    assert paper.largest == Subnet.uniform(12, prompt=10, lora=10, adapter=10)
    assert make_space(12, 768, PRESETS["wide"]).largest == Subnet.uniform(12, prompt=100, lora=100, adapter=100)
    for name in MODULES:
        alone = make_space(12, 768, PRESETS[name])
        assert [m for m in MODULES if any(alone.largest.widths(m))] == [name]
    assert make_space(4, 8, {"lora": (5, 1, 5)}, (3, 2, 3)).modules["lora"] == ModuleSpace((1, 5), (2, 3))
    assert quarters(24) == (6, 12, 18, 24)
    assert quarters(6) == (2, 3, 5, 6)
    assert quarters(1) == (1,)


def test_contains_refuses_what_could_not_be_drawn() -> None:
    space = make_space(4, 8, PRESETS["paper"])
    inside = Subnet.uniform(4, prompt=1, lora=5, adapter=10)
    assert space.contains(inside)
    assert not space.contains(Subnet.uniform(3, prompt=1, lora=5, adapter=10))
    assert not space.contains(Subnet.uniform(4, prompt=2, lora=5, adapter=10))
    assert not space.contains(Subnet(prompt=[1, 0, 1, 0], lora=[5] * 4, adapter=[10] * 4))
    assert not space.contains(Subnet.uniform(4, lora=5, adapter=10))


def test_a_budget_that_admits_nothing_is_refused() -> None:
    space = make_space(12, 768, PRESETS["paper"])
    cheapest = space.smallest.parameter_count(768)
    space.check_budget(cheapest)
    with pytest.raises(EmptySpaceError, match=f"{cheapest:,}") as caught:
        space.sample(np.random.default_rng(0), cheapest - 1)
    assert f"params={cheapest}" in caught.value.hint
    with pytest.raises(EmptySpaceError):
        space.shrink(space.largest, np.random.default_rng(0), cheapest - 1)


def test_wrong_spaces_are_told_whole() -> None:
    with pytest.raises(SettingsError) as caught:
        SearchSpace(
            4, 8, {"prompt": ModuleSpace((0,), (4,)), "lora": ModuleSpace((1,), (5,)), "other": ModuleSpace((), (0,))}
        )
    assert len(caught.value.problems) == 4
