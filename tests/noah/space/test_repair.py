"""Budgets of more than parameters: every operator stays inside, and only what cannot be met is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer

from noah.backbone.outline import outlines
from noah.backbone.view import Readers
from noah.cost.latency_table import LatencyTable
from noah.cost.macs import macs_of
from noah.errors import EmptySpaceError
from noah.space.budget import Bound, Budget, ParameterCost, Quantity, parameter_budget
from noah.space.kinds import PUBLISHED
from noah.space.module_space import Placement, carrying
from noah.space.operators import check_budget, cross_over, estimate_size, mutate, sample, shrink
from noah.space.repair import feasible_depths
from noah.space.search_space import SearchSpace, make_space
from noah.space.subnet import Subnet
from tests.noah.cost.test_latency_table import TABLE
from tests.noah.space.test_search_space import enumerate_space, seeds
from tests.noah.strategies import spaces

QUANTITIES: list[tuple[Quantity, ...]] = [
    ("macs",),
    ("latency",),
    ("parameters", "macs"),
    ("macs", "latency"),
    ("parameters", "macs", "latency"),
]


@cache
def work_of(blocks: int, embed_dim: int, pool: str = "token") -> Callable[[Subnet], int]:
    with outlines():
        backbone = VisionTransformer(
            img_size=32, patch_size=16, embed_dim=embed_dim, depth=blocks, num_heads=1, num_classes=3, global_pool=pool
        )
    return macs_of(backbone, 3)


def cost_of(quantity: Quantity, space: SearchSpace) -> Callable[[Subnet], float]:
    match quantity:
        case "parameters":
            return ParameterCost(space.embed_dim)
        case "macs":
            return work_of(space.blocks, space.embed_dim)
        case "latency":
            return TABLE


def narrowest(space: SearchSpace, *depths: int) -> Subnet:
    """The narrowest subnet with these depths of the published kinds."""
    return space.narrowest(dict(zip(PUBLISHED, depths, strict=True)))


@st.composite
def spaces_with_budgets(draw: st.DrawFn) -> tuple[SearchSpace, Budget]:
    """A budget that admits at least one combination of depths, often hardly anything else."""
    space = draw(spaces(max_blocks=4))
    narrowest = space.narrowest({name: draw(st.sampled_from(module.depths)) for name, module in space.modules.items()})
    bounds = []
    for quantity in draw(st.sampled_from(QUANTITIES)):
        cost = cost_of(quantity, space)
        room = draw(st.sampled_from([0.0, 0.01, 0.1, 0.4])) * max(cost(space.largest) - cost(narrowest), 0)
        limit = cost(narrowest) + room
        bounds.append(Bound(quantity, limit if quantity == "latency" else int(limit), cost))
    return space, Budget(tuple(bounds))


@given(spaces_with_budgets(), seeds, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200)
def test_every_operator_stays_inside(
    case: tuple[SearchSpace, Budget], rng: np.random.Generator, gene: float, depth: float, whole: float
) -> None:
    space, budget = case
    outside = sample(space, rng), sample(space, rng)
    members = sample(space, rng, budget), sample(space, rng, budget)
    children = [*members, *(shrink(space, subnet, rng, budget) for subnet in outside)]
    for first, second in (outside, members):
        children += [
            mutate(space, first, rng, gene_probability=gene, depth_probability=depth, budget=budget),
            cross_over(space, first, second, rng, budget, module_probability=whole),
        ]
    for child in children:
        assert space.contains(child)
        assert budget.admits(child)
    assert [shrink(space, child, rng, budget) for child in children] == children


@pytest.mark.parametrize("pool", ["token", "avg"])
@given(space=spaces(max_blocks=4))
def test_the_narrowest_subnet_of_some_depths_makes_least_work(pool: str, space: SearchSpace) -> None:
    assume(space.size() <= 20_000)
    macs = work_of(space.blocks, space.embed_dim, pool)
    least: dict[tuple[int, ...], int] = {}
    for subnet in enumerate_space(space):
        depths = tuple(len(carrying(subnet.widths(name))) for name in space.modules)
        least[depths] = min(least.get(depths, macs(subnet)), macs(subnet))
    for depths, work in least.items():
        assert macs(space.narrowest(dict(zip(space.modules, depths, strict=True)))) == work


@given(spaces(max_blocks=3), st.sampled_from(["macs", "parameters and macs"]), st.floats(0, 0.3), st.floats(0.7, 1.3))
def test_refused_is_exactly_what_no_subnet_meets(space: SearchSpace, kind: str, share: float, factor: float) -> None:
    assume(space.size() <= 20_000)
    macs, every = cost_of("macs", space), enumerate_space(space)
    counts = [subnet.parameter_count(space.embed_dim) for subnet in every]
    limit = int(min(counts) + share * (max(counts) - min(counts)))
    bounds = parameter_budget(limit, space.embed_dim).bounds if kind == "parameters and macs" else ()
    left = [subnet for subnet in every if Budget(bounds).admits(subnet)]
    cheapest = min(map(macs, left))
    bound = Bound("macs", int(cheapest * factor), macs)
    budget = Budget((*bounds, bound))
    if bound.limit >= cheapest:
        check_budget(space, budget)
    else:
        with pytest.raises(EmptySpaceError) as raised:
            check_budget(space, budget)
        assert raised.value.hint.startswith(f"Raise it to at least --budget macs={cheapest},")
        with pytest.raises(EmptySpaceError):
            sample(space, np.random.default_rng(0), budget)


def test_fewer_prompts_may_be_more_work() -> None:
    """Prompts of the first block alone are carried to the end; its budget is met by going deeper."""
    space = make_space(4, 16, {"prompt": (2, 4)}, (1, 4))
    macs = work_of(4, 16)
    shallow, deep = narrowest(space, 1, 0, 0), narrowest(space, 4, 0, 0)
    assert macs(shallow) > macs(deep)
    budget = Budget((Bound("macs", macs(deep), macs),))
    assert feasible_depths(space, budget) == ((4, 0, 0),)
    assert shrink(space, shallow, np.random.default_rng(0), budget) == deep
    with pytest.raises(EmptySpaceError):
        check_budget(space, Budget((*parameter_budget(shallow.parameter_count(16), 16).bounds, *budget.bounds)))


@pytest.mark.parametrize("placement", ["first", "last", "any"])
def test_only_what_makes_work_is_taken_back(placement: Placement) -> None:
    space = make_space(6, 16, {"prompt": (1, 2, 3), "lora": (1, 2), "adapter": (1, 2, 3)}, (2, 6), placement)
    macs, rng = work_of(6, 16), np.random.default_rng(0)
    lightest = min(macs(narrowest(space, prompt, 2, adapter)) for prompt in (2, 6) for adapter in (2, 6))
    budget = Budget((Bound("macs", int(lightest * 1.01), macs),))
    for _ in range(30):
        subnet = sample(space, rng)
        assert shrink(space, subnet, rng, budget).lora == subnet.lora


def test_the_cheapest_price_of_the_violated_bound_is_told() -> None:
    space = make_space(4, 16, {"prompt": (1, 2), "adapter": (1,)}, (4,))
    count, macs = space.smallest.parameter_count(16), work_of(4, 16)
    parameters = parameter_budget(count, 16).bounds
    with pytest.raises(EmptySpaceError) as raised:
        check_budget(space, Budget((*parameters, Bound("macs", 10, macs))))
    assert raised.value.problem == (
        f"The budget of 10 multiply-accumulates an image admits no subnet of the space: the cheapest inside "
        f"{count} parameters has {macs(space.smallest) / 1000:.0f} k multiply-accumulates an image."
    )
    seconds = TABLE(space.smallest)
    with pytest.raises(EmptySpaceError) as raised:
        check_budget(space, Budget((Bound("latency", 1.0, TABLE),)))
    assert raised.value.problem == (
        f"The budget of 1 s an image admits no subnet of the space: the cheapest takes {seconds:.0f} s an image."
    )
    assert raised.value.hint.startswith(f"Raise it to at least --budget latency={math.ceil(seconds * 1e6)}us,")


@pytest.mark.parametrize("placement", ["first", "last", "any"])
@pytest.mark.parametrize("parameters", [None, 300])
@pytest.mark.parametrize("factor", [1.0, 1.05, 1.3])
def test_the_estimated_size(placement: Placement, parameters: int | None, factor: float) -> None:
    space = make_space(3, 8, {"prompt": (1, 4), "lora": (1,), "adapter": (1, 6)}, (1, 3), placement)
    macs = work_of(3, 8)
    lightest = min(macs(narrowest(space, prompt, 1, adapter)) for prompt in (1, 3) for adapter in (1, 3))
    bounds = parameter_budget(parameters, 8).bounds
    budget = Budget((*bounds, Bound("macs", int(lightest * factor), macs)))
    estimate = estimate_size(space, budget)
    number = sum(map(budget.admits, enumerate_space(space)))
    assert estimate == estimate_size(space, budget)
    assert isinstance(estimate.number, int)
    assert 0 < estimate.standard_error < 0.03 * space.size(Budget(bounds))
    assert abs(estimate.number - number) < 4 * estimate.standard_error
    with pytest.raises(ValueError, match="no exact number"):
        space.size(budget)


def blocks_with_prompts(subnet: Subnet) -> float:
    return float(len(carrying(subnet.prompt)))


@pytest.mark.parametrize("blocks", [6, 8, 10])
def test_the_estimate_takes_every_subnet_for_as_likely(blocks: int) -> None:
    """One width of 2 costs as much as two of 1, but there are more ways to place these."""
    space = make_space(blocks, 8, {"prompt": (1, 2)}, (1, 2), "any")
    budget = Budget((Bound("latency", 1.0, blocks_with_prompts),))
    estimate = estimate_size(space, budget)
    assert abs(estimate.number - sum(map(budget.admits, enumerate_space(space)))) < 4 * estimate.standard_error


@given(spaces(max_blocks=3))
@settings(max_examples=10)
def test_an_estimate_of_all_is_as_sure_as_one_of_none(space: SearchSpace) -> None:
    every, none = (estimate_size(space, Budget((Bound("latency", limit, blocks_with_prompts),))) for limit in (99, -1))
    assert (every.number, none.number) == (space.size(), 0)
    assert every.standard_error == pytest.approx(none.standard_error, rel=1e-9)
    assert none.standard_error > 0


def test_a_table_of_a_backbone_with_average_pooling_bounds_as_well() -> None:
    table = LatencyTable(
        TABLE.prompts, TABLE.adapters, TABLE.blocks, TABLE.ends, TABLE.plain, Readers.PATCHES, 1, TABLE.hardware
    )
    space = make_space(4, 8, {"prompt": (2, 10), "adapter": (4,)}, (1, 4), "any")
    budget = Budget((Bound("latency", 150.0, table),))
    rng = np.random.default_rng(0)
    assert all(budget.admits(sample(space, rng, budget)) for _ in range(50))
