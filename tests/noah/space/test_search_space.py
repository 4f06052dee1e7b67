"""SearchSpace: every operator stays inside the space and inside the budget."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from noah.errors import EmptySpaceError, SettingsError
from noah.space.budget import Bound, Budget, parameter_budget
from noah.space.kinds import PUBLISHED
from noah.space.module_space import ModuleSpace, Placement, carrying, place
from noah.space.operators import check_budget, cross_over, estimate_size, mutate, sample, shrink
from noah.space.pricing import SizeEstimate
from noah.space.search_space import PRESETS, SearchSpace, make_space, quarters
from noah.space.subnet import Subnet
from tests.noah.strategies import spaces


def enumerate_space(space: SearchSpace) -> list[Subnet]:
    """Every subnet of a small space, written out."""
    choices = []
    fixed = {"first": lambda depth, _: set(range(depth)), "last": lambda depth, count: set(range(count - depth, count))}
    for module in space.modules.values():
        choices.append(
            [
                tuple(place(widths, where, space.blocks))
                for depth in module.depths
                for where in itertools.combinations(range(space.blocks), depth)
                if space.placement == "any" or set(where) == fixed[space.placement](depth, space.blocks)
                for widths in itertools.product(module.widths, repeat=depth)
            ]
        )
    return [Subnet(**dict(zip(space.modules, widths, strict=True))) for widths in itertools.product(*choices)]


def inside(space: SearchSpace, limit: int) -> Budget:
    """A budget of parameters."""
    return parameter_budget(limit, space.embed_dim)


@st.composite
def spaces_with_budgets(draw: st.DrawFn) -> tuple[SearchSpace, Budget]:
    space = draw(spaces(max_blocks=4, least_depth=0))
    cheapest, dearest = (subnet.parameter_count(space.embed_dim) for subnet in (space.smallest, space.largest))
    return space, inside(space, draw(st.integers(cheapest, dearest)))


seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(spaces(max_blocks=3, least_depth=0), st.floats(0, 1))
@settings(deadline=None)
def test_the_size_is_exact(space: SearchSpace, share: float) -> None:
    assume(space.size() <= 20_000)
    every = enumerate_space(space)
    assert len(set(every)) == len(every) == space.size()
    assert all(space.contains(subnet) for subnet in every)
    prices = [subnet.parameter_count(space.embed_dim) for subnet in every]
    limit = int(min(prices) + share * (max(prices) - min(prices)))
    assert space.size(inside(space, limit)) == sum(price <= limit for price in prices)
    assert estimate_size(space, inside(space, limit)) == SizeEstimate(sum(price <= limit for price in prices), 0.0)
    assert space.size(inside(space, min(prices) - 1)) == 0
    assert all(subnet.fits_inside(space.largest) for subnet in every)
    for name in space.modules:
        columns = zip(*(subnet.widths(name) for subnet in every), strict=True)
        assert space.largest.widths(name) == tuple(map(max, columns))
    assert space.smallest in every
    assert space.smallest.parameter_count(space.embed_dim) == min(prices)


@given(spaces_with_budgets(), seeds)
@settings(deadline=None)
def test_sampling_stays_inside(case: tuple[SearchSpace, Budget], rng: np.random.Generator) -> None:
    space, budget = case
    for _ in range(5):
        assert space.contains(sample(space, rng))
        drawn = sample(space, rng, budget)
        assert space.contains(drawn)
        assert budget.admits(drawn)
        assert drawn.fits_inside(space.largest)


@given(spaces_with_budgets(), seeds, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_mutation_crossover_and_shrinking_stay_inside(
    case: tuple[SearchSpace, Budget], rng: np.random.Generator, gene: float, depth: float, whole: float
) -> None:
    space, budget = case
    first, second = sample(space, rng), sample(space, rng)
    children = [
        mutate(space, first, rng, gene_probability=gene, depth_probability=depth, budget=budget),
        cross_over(space, first, second, rng, budget, module_probability=whole),
        shrink(space, first, rng, budget),
    ]
    for child in children:
        assert space.contains(child)
        assert budget.admits(child)
        assert child.parameter_count(space.embed_dim) <= (budget.parameters or 0)
    assert space.contains(mutate(space, first, rng, gene_probability=gene, depth_probability=depth))
    assert space.contains(cross_over(space, first, second, rng, module_probability=whole))


@given(spaces(), seeds)
def test_operators_without_change(space: SearchSpace, rng: np.random.Generator) -> None:
    subnet = sample(space, rng)
    assert mutate(space, subnet, rng, gene_probability=0, depth_probability=0) == subnet
    assert cross_over(space, subnet, subnet, rng) == subnet
    assert cross_over(space, subnet, subnet, rng, module_probability=1) == subnet
    assert shrink(space, subnet, rng, inside(space, subnet.parameter_count(space.embed_dim))) == subnet


@given(spaces(), seeds)
def test_crossover_takes_every_width_from_a_parent(space: SearchSpace, rng: np.random.Generator) -> None:
    first, second = sample(space, rng), sample(space, rng)
    child = cross_over(space, first, second, rng)
    for name in space.modules:
        for width, *parents in zip(child.widths(name), first.widths(name), second.widths(name), strict=True):
            assert width in parents or not width


@given(spaces(), seeds)
def test_crossover_of_whole_modules(space: SearchSpace, rng: np.random.Generator) -> None:
    first, second = sample(space, rng), sample(space, rng)
    child = cross_over(space, first, second, rng, module_probability=1)
    assert all(child.widths(name) in (first.widths(name), second.widths(name)) for name in space.modules)


def test_crossovers_of_whole_modules_are_as_frequent_as_asked() -> None:
    space = make_space(12, 8, PRESETS["wide"], (12,))
    rng = np.random.default_rng(0)
    first, second = sample(space, rng), sample(space, rng)
    children = [cross_over(space, first, second, rng, module_probability=0.3) for _ in range(400)]
    whole = sum(all(c.widths(m) in (first.widths(m), second.widths(m)) for m in PUBLISHED) for c in children)
    assert whole == pytest.approx(120, abs=36)  # four standard deviations


def sum_of_widths(subnet: Subnet) -> float:
    """A cost that is not the number of parameters, and is found at once."""
    return float(sum(subnet.prompt) + sum(subnet.adapter))


@pytest.mark.parametrize(
    ("placement", "budget", "draws"),
    [
        ("first", parameter_budget(400, 8), 6000),
        ("any", parameter_budget(400, 8), 6000),
        ("first", Budget((Bound("latency", 12.0, sum_of_widths),)), 1500),
        ("any", Budget((*parameter_budget(500, 8).bounds, Bound("latency", 12.0, sum_of_widths))), 1500),
    ],
    ids=["parameters", "parameters, any", "other", "parameters and other, any"],
)
def test_sampling_inside_a_budget_has_the_distribution_of_rejection(
    placement: Placement, budget: Budget, draws: int
) -> None:
    space = make_space(2, 8, PRESETS["paper"], (1, 2), placement)
    rng = np.random.default_rng(0)
    direct = Counter(sample(space, rng, budget) for _ in range(draws))
    rejected: Counter[Subnet] = Counter()
    while rejected.total() < draws:
        subnet = sample(space, rng)
        if budget.admits(subnet):
            rejected[subnet] += 1
    # Two samples of one distribution: the statistic has the mean 1 a cell, and a standard deviation of sqrt(2 / cells).
    cells = direct.keys() | rejected.keys()
    statistic = sum((direct[c] - rejected[c]) ** 2 / (direct[c] + rejected[c]) for c in cells) / len(cells)
    assert statistic < 1 + 4 * (2 / len(cells)) ** 0.5


def test_the_wide_space_is_almost_all_over_the_published_budget() -> None:
    """As the published code counts (dead tokens too), 1.4 % of random draws pass 0.64 M on ViT-B/16."""
    space = make_space(12, 768, PRESETS["wide"])
    rng = np.random.default_rng(0)
    passed = sum(sample(space, rng).reference_count(768, 100) <= 640_000 for _ in range(4000)) / 4000
    assert passed == pytest.approx(0.014, abs=0.006)
    assert sample(space, rng, inside(space, 640_000)).parameter_count(768) <= 640_000


def test_mutation_changes_widths_and_depths() -> None:
    space = make_space(12, 768, PRESETS["paper"])
    rng = np.random.default_rng(0)
    subnet = sample(space, rng)
    widths = [mutate(space, subnet, rng, gene_probability=1, depth_probability=0) for _ in range(20)]
    depths = [mutate(space, subnet, rng, gene_probability=0, depth_probability=1) for _ in range(20)]
    assert len(set(widths)) == 20
    assert all([bool(w) for w in child.lora] == [bool(w) for w in subnet.lora] for child in widths)
    assert len({sum(map(bool, child.lora)) for child in depths}) > 1


def test_presets() -> None:
    paper = make_space(12, 768, PRESETS["paper"])
    assert quarters(12) == (3, 6, 9, 12)
    assert {paper.modules[name] for name in PUBLISHED} == {ModuleSpace((1, 5, 10), (3, 6, 9, 12))}
    assert paper.largest == Subnet.uniform(12, prompt=10, lora=10, adapter=10)
    assert make_space(12, 768, PRESETS["wide"]).largest == Subnet.uniform(12, prompt=100, lora=100, adapter=100)
    for name in PUBLISHED:
        alone = make_space(12, 768, PRESETS[name])
        assert [m for m in PUBLISHED if any(alone.largest.widths(m))] == [name]
    assert make_space(4, 8, {"lora": (5, 1, 5)}, (3, 2, 3)).modules["lora"] == ModuleSpace((1, 5), (2, 3))
    assert quarters(24) == (6, 12, 18, 24)
    assert quarters(6) == (2, 3, 5, 6)
    assert quarters(1) == (1,)


def test_modules_that_may_sit_in_any_blocks() -> None:
    space = make_space(4, 8, PRESETS["paper"], (1, 2), "any")
    assert space.largest == Subnet.uniform(4, prompt=10, lora=10, adapter=10)
    assert space.smallest == Subnet([0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1])
    assert space.contains(Subnet([0, 1, 0, 5], [1, 0, 0, 0], [0, 0, 10, 10]))
    assert not space.contains(Subnet([0, 1, 1, 5], [1, 0, 0, 0], [0, 0, 10, 10]))
    assert not space.contains(Subnet([0, 1, 0, 5], [0, 0, 0, 0], [0, 0, 10, 10]))
    assert space.size() == (4 * 3 + 6 * 9) ** 3
    assert space.to_json()["placement"] == "any"


def test_mutation_moves_modules_to_any_blocks() -> None:
    space = make_space(6, 8, {"lora": (1, 2, 3)}, (2, 4), "any")
    rng = np.random.default_rng(0)
    subnet = Subnet([0] * 6, [1, 0, 2, 0, 0, 0], [0] * 6)
    moved = {mutate(space, subnet, rng, gene_probability=1, depth_probability=0).lora for _ in range(300)}
    assert {len(carrying(widths)) for widths in moved} == {2}
    assert {block for widths in moved for block in carrying(widths)} == set(range(6))
    assert any(sorted(widths) == [0, 0, 0, 0, 1, 2] and widths != subnet.lora for widths in moved)  # with their widths
    deeper = [mutate(space, subnet, rng, gene_probability=0, depth_probability=1).lora for _ in range(100)]
    assert all(widths[0] == 1 and widths[2] == 2 for widths in deeper)  # added to, or left alone
    assert {block for widths in deeper for block in carrying(widths)} == set(range(6))
    assert all(
        set(carrying(mutate(space, Subnet([0] * 6, [1] * 4 + [0] * 2, [0] * 6), rng, gene_probability=0,
                                  depth_probability=1).lora)) <= set(range(4))
        for _ in range(20)
    )  # fmt: skip


def test_crossover_keeps_the_blocks_that_both_parents_have() -> None:
    space = make_space(6, 8, {"lora": (1, 2, 3)}, (2, 3), "any")
    rng = np.random.default_rng(0)
    first, second = (Subnet([0] * 6, lora, [0] * 6) for lora in ([1, 1, 0, 0, 0, 0], [2, 0, 0, 2, 2, 0]))
    children = {cross_over(space, first, second, rng).lora for _ in range(200)}
    assert all(widths[0] and not widths[2] and not widths[5] for widths in children)
    assert {tuple(carrying(widths)) for widths in children} == {
        (0, 1), (0, 3), (0, 4), (0, 1, 3), (0, 1, 4), (0, 3, 4)
    }  # fmt: skip


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
    check_budget(space, inside(space, cheapest))
    with pytest.raises(EmptySpaceError, match=f"{cheapest:,}") as caught:
        sample(space, np.random.default_rng(0), inside(space, cheapest - 1))
    assert f"params={cheapest}" in caught.value.hint
    with pytest.raises(EmptySpaceError):
        shrink(space, space.largest, np.random.default_rng(0), inside(space, cheapest - 1))


def test_wrong_spaces_are_told_whole() -> None:
    with pytest.raises(SettingsError) as caught:
        SearchSpace(
            4,
            8,
            {
                "prompt": ModuleSpace((0,), (4,)),
                "lora": ModuleSpace((1,), (5,)),
                "other": ModuleSpace((), (0,)),
                "scale_shift": ModuleSpace((1, 2), (4,)),
            },
        )
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("module", [ModuleSpace((8, 4), (4,)), ModuleSpace((4, 4), (4,)), ModuleSpace((4,), (4, 2))])
def test_widths_and_depths_ascend(module: ModuleSpace) -> None:
    with pytest.raises(SettingsError, match=r"space.lora: .* must ascend, with no number twice"):
        SearchSpace(4, 64, {"lora": module})


@given(spaces())
def test_a_space_comes_back_from_what_is_written_of_it(space: SearchSpace) -> None:
    written = json.loads(json.dumps(space.to_json()))
    assert written.pop("placement") == space.placement
    modules = {
        name: ModuleSpace(**{field: tuple(values) for field, values in module.items()})
        for name, module in written.items()
    }
    assert modules == space.modules


@given(spaces(), spaces())
def test_spaces_have_the_same_hash_where_they_are_equal(first: SearchSpace, second: SearchSpace) -> None:
    again = SearchSpace(first.blocks, first.embed_dim, dict(reversed(first.modules.items())), first.placement)
    assert (again, hash(again)) == (first, hash(first))
    assert (hash(first) == hash(second)) == (first == second)


@given(spaces(), st.sampled_from(PUBLISHED), st.data())
def test_one_wrong_depth_or_width_among_others_is_told(space: SearchSpace, name: str, data: st.DataObject) -> None:
    module = space.modules[name]
    depth = data.draw(st.sampled_from([-1, space.blocks + 1]), label="depth")
    width = data.draw(st.sampled_from([0, -1]), label="width")
    for what, wrong in (
        ("depths", ModuleSpace(module.widths, (*module.depths, depth))),
        ("widths", ModuleSpace((*module.widths, width), module.depths)),
    ):
        with pytest.raises(SettingsError) as caught:
            SearchSpace(space.blocks, space.embed_dim, {**space.modules, name: wrong}, space.placement)
        assert f"space.{name}.{what}" in [problem.split(":")[0] for problem in caught.value.problems]
