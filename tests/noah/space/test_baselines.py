from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.space.baselines import LINEAR, closest_width, even_mixtures, singles
from noah.space.budget import UNBOUNDED, parameter_budget
from noah.space.kinds import GROUPS, KINDS, BlockSizes, LayerSize, price
from noah.space.module_space import ModuleSpace, Placement
from noah.space.search_space import PRESETS, SearchSpace, make_space
from noah.space.subnet import Subnet
from tests.noah.strategies import spaces

FULL = make_space(12, 384, PRESETS["full"], (0, 3, 6, 9, 12))


@given(spaces(least_depth=0), st.floats(0, 1))
def test_each_is_alone_in_the_space_and_inside_the_budget(space: SearchSpace, share: float) -> None:
    cheapest, dearest = (subnet.parameter_count(space.sizes) for subnet in (space.smallest, space.largest))
    budget = parameter_budget(int(cheapest + share * (dearest - cheapest)), space.sizes)
    for name, subnet in singles(space, budget).items():
        assert space.contains(subnet)
        assert budget.admits(subnet)
        assert subnet.kinds == (() if name == LINEAR else (name,))


def test_every_kind_of_the_full_space_and_none_at_all() -> None:
    assert set(singles(FULL, UNBOUNDED)) == {*KINDS, LINEAR}
    assert singles(FULL, UNBOUNDED)["lora"] == Subnet.uniform(12, lora=10)


def test_the_space_of_the_paper_has_none() -> None:
    """It forces every kind on every subnet."""
    assert singles(make_space(12, 384, PRESETS["paper"]), UNBOUNDED) == {}


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.is_switch])
def test_nothing_larger_of_the_kind_is_inside_the_budget(kind: str) -> None:
    """No block can be a step wider."""
    budget = parameter_budget(160_000, 384)
    subnet, widths = singles(FULL, budget)[kind], PRESETS["full"][kind]
    for block, width in enumerate(subnet.widths(kind)):
        wider = next((each for each in widths if each > width), None)
        if width and wider:
            row = list(subnet.widths(kind))
            row[block] = wider
            assert not budget.admits(Subnet(**{kind: row}))


def test_the_later_blocks_get_the_larger_widths() -> None:
    alone = singles(FULL, parameter_budget(160_000, 384))["lora"]
    assert alone.lora == tuple(sorted(alone.lora))
    assert set(alone.lora) == {5, 10}


def test_a_depth_that_the_budget_does_not_admit_gives_way_to_a_smaller_one() -> None:
    space = make_space(12, 384, {"lora": (10,)}, (0, 3, 12))
    assert singles(space, parameter_budget(60_000, 384))["lora"] == Subnet(lora=[10] * 3 + [0] * 9)
    assert set(singles(space, parameter_budget(100, 384))) == {LINEAR}


@pytest.mark.parametrize(("placement", "blocks"), [("first", [0, 1]), ("last", [2, 3]), ("any", [2, 3])])
def test_the_blocks_of_a_placement(placement: Placement, blocks: list[int]) -> None:
    space = SearchSpace(4, 8, {"lora": ModuleSpace((2,), (0, 2))}, placement)
    found = singles(space, UNBOUNDED)["lora"]
    assert np.flatnonzero(found.lora).tolist() == blocks


@given(spaces(least_depth=0), st.floats(0, 1))
def test_an_even_mixture_has_one_width_a_kind_and_is_inside_the_budget(space: SearchSpace, share: float) -> None:
    cheapest, dearest = (subnet.parameter_count(space.sizes) for subnet in (space.smallest, space.largest))
    budget = parameter_budget(int(cheapest + share * (dearest - cheapest)), space.sizes)
    for name, subnet in even_mixtures(space, budget).items():
        assert space.contains(subnet)
        assert budget.admits(subnet)
        assert "+".join(subnet.kinds) == name
        assert all(len(set(subnet.widths(kind)) - {0}) == 1 for kind in subnet.kinds)


def test_the_even_mixtures_of_the_mixed_space() -> None:
    """Each is what one would type by hand, and no kind of it fits at its next width."""
    mixed = make_space(12, 384, PRESETS["mixed"], (0, 3, 6, 9, 12))
    budget = parameter_budget(160_000, 384)
    found = even_mixtures(mixed, budget)
    assert found == {
        "lora+adapter": Subnet.uniform(12, lora=4, adapter=8),
        "lora+bias": Subnet.uniform(12, lora=6, bias=1),
        "adapter+bias": Subnet.uniform(12, adapter=12, bias=1),
        "lora+adapter+bias": Subnet.uniform(12, lora=4, adapter=4, bias=1),
    }
    for subnet in found.values():
        widths = {kind: max(subnet.widths(kind)) for kind in subnet.kinds}
        for kind, width in widths.items():
            wider = [each for each in PRESETS["mixed"][kind] if each > width]
            assert not wider or not budget.admits(Subnet.uniform(12, **widths | {kind: wider[0]}))


def test_a_budget_of_nothing_has_no_mixture() -> None:
    assert even_mixtures(FULL, parameter_budget(0, 384)) == {}


@pytest.mark.parametrize("kinds", [*((name,) for name in KINDS), GROUPS["lora_all"]], ids="+".join)
@pytest.mark.parametrize("parameters", [1, 40_000, 160_000, 3_000_000])
def test_no_other_width_comes_closer(kinds: tuple[str, ...], parameters: int) -> None:
    width = closest_width(kinds, 12, BlockSizes.plain(384), parameters)
    assert width is not None
    if KINDS[kinds[0]].is_switch:
        assert width == 1
        return
    counts = [Subnet.uniform(12, **dict.fromkeys(kinds, other)).parameter_count(384) for other in range(1, 1000)]
    assert width == 1 + int(np.argmin([abs(count - parameters) for count in counts]))


def test_what_the_backbone_has_no_room_for_has_no_width() -> None:
    layers = [LayerSize(8, outputs, bias=False) for outputs in (24, 8, 32, 8)]
    sizes = BlockSizes(8, layers[0], layers[1], (layers[2],), layers[3])
    assert price("bias", 1, sizes) == 0
    assert closest_width(("bias",), 12, sizes, 1000) is None
