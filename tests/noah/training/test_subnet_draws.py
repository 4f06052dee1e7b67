from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from noah.settings.training_settings import SupernetSettings
from noah.space.kinds import PUBLISHED
from noah.space.module_space import ModuleSpace
from noah.space.operators import sample
from noah.space.search_space import PRESETS, SearchSpace, make_space
from noah.space.subnet import Subnet
from noah.training.subnet_draws import cycle_length, draw_subnets, fair_subnet
from tests.noah.space.test_search_space import enumerate_space

SMALL = make_space(2, 4, {"lora": (1, 2), "adapter": (3, 5)}, depths=(1, 2))
PAPER = make_space(12, 768, PRESETS["paper"])


@st.composite
def any_spaces(draw: st.DrawFn) -> SearchSpace:
    """Modules may be missing or have no width at all, and depths lie anywhere, 0 included."""
    blocks = draw(st.integers(1, 6))
    modules = {}
    for name in PUBLISHED:
        widths = tuple(sorted(draw(st.sets(st.integers(1, 12), max_size=4))))
        depths = tuple(sorted(draw(st.sets(st.integers(0, blocks), min_size=1, max_size=3))))
        modules[name] = ModuleSpace(widths, depths if widths else (0,))
    return SearchSpace(blocks, 4, modules, draw(st.sampled_from(["first", "last", "any"])))


seeds = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 3))


def fair_subnets(space: SearchSpace, seed: tuple[int, ...], numbers: range) -> list[Subnet]:
    return [fair_subnet(space, seed, number) for number in numbers]


def carried(widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(width for width in widths if width)


def settings(sampling: str, **changes: int) -> SupernetSettings:
    return SupernetSettings.model_validate({"epochs": 20, "learning_rate": 1e-3, "sampling": sampling, **changes})


@given(any_spaces(), seeds, st.integers(0, 50))
def test_over_a_cycle_every_depth_and_every_width_of_every_block_comes_equally_often(
    space: SearchSpace, seed: tuple[int, ...], cycle: int
) -> None:
    length = cycle_length(space)
    drawn = fair_subnets(space, seed, range(cycle * length, (cycle + 1) * length))
    assert all(space.contains(subnet) for subnet in drawn)
    for name, module in space.modules.items():
        from_one_end = -1 if space.placement == "last" else 1  # blocks are reached from the first on, or from the last
        vectors = [carried(subnet.widths(name))[::from_one_end] for subnet in drawn]
        assert Counter(map(len, vectors)) == dict.fromkeys(module.depths, length // len(module.depths))
        for block in range(max(module.depths)):
            reached = [widths[block] for widths in vectors if len(widths) > block]
            share, rest = divmod(len(reached), len(module.widths))
            assert (Counter(reached), rest) == (dict.fromkeys(module.widths, share), 0)


@given(any_spaces(), seeds, st.integers(0, 50))
def test_in_a_module_s_own_cycle_every_pair_of_depth_and_width_comes_once_in_every_block(
    space: SearchSpace, seed: tuple[int, ...], cycle: int
) -> None:
    for name, module in space.modules.items():
        length = max(1, len(module.depths) * len(module.widths))
        drawn = fair_subnets(space, seed, range(cycle * length, (cycle + 1) * length))
        vectors = [carried(subnet.widths(name)) for subnet in drawn]
        for depth in module.depths:
            of_depth = [widths for widths in vectors if len(widths) == depth]
            assert [sorted(column) for column in zip(*of_depth, strict=True)] == [list(module.widths)] * depth


@pytest.mark.parametrize(
    ("space", "length"),
    [
        (PAPER, 4 * 3),
        (make_space(12, 768, PRESETS["wide"]), 4 * 4),
        (make_space(12, 768, PRESETS["lora"]), 4 * 5),
        (make_space(4, 8, {"prompt": (1, 2), "lora": (1, 2, 3)}, depths=(1, 4)), 3 * 4),
        (SearchSpace(3, 8, dict.fromkeys(PUBLISHED, ModuleSpace((), (0,)))), 1),
    ],
)
def test_a_cycle_is_no_longer_than_it_has_to_be(space: SearchSpace, length: int) -> None:
    assert cycle_length(space) == length


@given(any_spaces(), seeds, st.lists(st.integers(0, 500), min_size=1, max_size=10))
def test_a_draw_depends_on_space_seed_and_number_alone(
    space: SearchSpace, seed: tuple[int, ...], numbers: list[int]
) -> None:
    drawn = {number: fair_subnet(space, seed, number) for number in numbers}
    np.random.default_rng(1).shuffle(numbers)
    assert all(fair_subnet(space, seed, number) == drawn[number] for number in numbers)


def test_cycles_seeds_and_modules_have_orders_of_their_own() -> None:
    length = cycle_length(PAPER)
    sequences = [
        fair_subnets(PAPER, seed, range(cycle * length, (cycle + 1) * length))
        for seed in ((0, 1), (1, 1), (0, 2))
        for cycle in range(3)
    ]
    assert len({tuple(drawn) for drawn in sequences}) == 9
    orders = {tuple(carried(subnet.widths(name)) for subnet in drawn) for drawn in sequences for name in PUBLISHED}
    assert len(orders) == 27
    assert len({subnet for drawn in sequences for subnet in drawn}) == 9 * length


@pytest.mark.parametrize("turn", [0, 2])
def test_a_single_draw_has_the_distribution_of_uniform_sampling(turn: int) -> None:
    """Over all 36 subnets of a space of two modules, so that the modules are independent of each other too."""
    drawn = Counter(fair_subnet(SMALL, (3, 1), 4 * cycle + turn) for cycle in range(4000))
    depths = {subnet: [len(carried(subnet.widths(name))) for name in ("lora", "adapter")] for subnet in drawn}
    expected = {subnet: 4000 / 4 / 2 ** sum(depths[subnet]) for subnet in drawn}
    assert set(drawn) == set(enumerate_space(SMALL))
    assert chisquare([drawn[key] for key in expected], list(expected.values())).pvalue > 0.01


def test_uniform_takes_the_epoch_s_generator_as_sampling_does() -> None:
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    for step in (0, 0, 7):
        assert draw_subnets(PAPER, settings("uniform", sandwich_random=9), (0, 1), step, rng) == (sample(PAPER, same),)


@pytest.mark.parametrize("sampling", ["fair", "sandwich"])
def test_the_others_leave_the_epoch_s_generator_alone(sampling: str) -> None:
    rng = np.random.default_rng(5)
    before = str(rng.bit_generator.state)
    drawn = [draw_subnets(PAPER, settings(sampling), (0, 1), step, rng) for step in range(5)]
    assert str(rng.bit_generator.state) == before
    other = np.random.default_rng(6)
    assert drawn == [draw_subnets(PAPER, settings(sampling), (0, 1), step, other) for step in range(5)]


def test_fair_takes_one_draw_a_step() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_subnets(PAPER, settings("fair"), (4, 1), step, rng) for step in range(30)]
    assert drawn == [(subnet,) for subnet in fair_subnets(PAPER, (4, 1), range(30))]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_sandwich_is_the_largest_the_smallest_and_the_next_fair_draws(count: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_subnets(PAPER, settings("sandwich", sandwich_random=count), (4, 1), step, rng) for step in range(20)]
    assert {subnets[:2] for subnets in drawn} == {(PAPER.largest, PAPER.smallest)}
    others = [subnet for subnets in drawn for subnet in subnets[2:]]
    assert others == fair_subnets(PAPER, (4, 1), range(20 * count))


def test_modules_that_may_sit_in_any_blocks_sit_in_each_as_often() -> None:
    space = make_space(4, 4, {"lora": (1, 2)}, (1, 2), "any")
    drawn = fair_subnets(space, (0, 1), range(4000))
    where = Counter(tuple(block for block in range(4) if subnet.lora[block]) for subnet in drawn)
    assert Counter(len(blocks) for blocks in where.elements()) == {1: 2000, 2: 2000}
    for depth, sets in ((1, 4), (2, 6)):
        counts = [count for blocks, count in where.items() if len(blocks) == depth]
        assert len(counts) == sets
        assert chisquare(counts).pvalue > 0.01
    assert len(set(drawn[:4])) == 4  # the sets change within a cycle
