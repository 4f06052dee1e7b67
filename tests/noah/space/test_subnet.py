"""Subnet: a value that is checked, counted and serialized."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from noah.errors import SettingsError
from noah.space.kinds import PUBLISHED
from noah.space.subnet import Subnet, unknown_kind
from tests.noah.strategies import subnets


@given(subnets(5), st.integers(1, 100))
def test_the_count_is_the_sum_over_modules_and_blocks(subnet: Subnet, embed_dim: int) -> None:
    expected = 0
    for prompt, rank, width in zip(subnet.prompt, subnet.lora, subnet.adapter, strict=True):
        expected += prompt * embed_dim + 4 * embed_dim * rank
        if width:
            expected += 2 * embed_dim * width + width + embed_dim
    assert subnet.parameter_count(embed_dim) == expected


@given(subnets(4), subnets(4), st.integers(1, 100))
def test_a_wider_subnet_has_more_parameters(first: Subnet, second: Subnet, embed_dim: int) -> None:
    widest = Subnet(*(map(max, first.widths(m), second.widths(m)) for m in PUBLISHED))
    assert (first.parameter_count(embed_dim) < widest.parameter_count(embed_dim)) == (first != widest)


@given(subnets(5), st.integers(1, 100), st.integers(0, 100))
def test_the_published_count_adds_dead_tokens_where_block_0_has_a_prompt(
    subnet: Subnet, embed_dim: int, largest: int
) -> None:
    dead = subnet.reference_count(embed_dim, largest) - subnet.parameter_count(embed_dim)
    assert dead == ((subnet.prompt[0] + largest) * embed_dim if subnet.prompt[0] else 0)


@given(subnets(4))
def test_json_round_trip(subnet: Subnet) -> None:
    assert Subnet.from_json(subnet.to_json()) == subnet
    assert Subnet.from_json(json.dumps(subnet.to_json())) == subnet
    assert hash(Subnet.from_json(subnet.to_json())) == hash(subnet)


@given(subnets(4), subnets(4))
def test_fits_inside_is_an_order_in_every_width(first: Subnet, second: Subnet) -> None:
    widest = Subnet(*(map(max, first.widths(m), second.widths(m)) for m in PUBLISHED))
    assert first.fits_inside(widest)
    assert second.fits_inside(widest)
    assert (first.fits_inside(second) and second.fits_inside(first)) == (first == second)
    assert not first.fits_inside(Subnet.uniform(3, prompt=9, lora=9, adapter=9))


def test_it_cannot_be_changed() -> None:
    subnet = Subnet.uniform(2, lora=3)
    with pytest.raises(AttributeError):
        subnet.lora = (1, 1)  # type: ignore[misc]  # the point of the test
    assert subnet == Subnet(prompt=(0, 0), lora=[3, 3], adapter=iter([0, 0]))
    assert subnet.depth == 2
    assert subnet.block(1) == {"lora": 3}


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ({"prompt": [1], "lora": [1, 2], "adapter": [1]}, "lora 2"),
        ({"prompt": [], "lora": [], "adapter": []}, "at least one block"),
        ({"prompt": [-1], "lora": [0], "adapter": [0]}, "prompt has the width -1 in block 0"),
        ({"prompt": [0], "lora": [1.5], "adapter": [0]}, "lora has the width 1.5"),
        ({"prompt": [0], "lora": [0], "adapter": [True]}, "adapter has the width True"),
        ({"prompt": [0], "lora": [0], "adapter": ["4"]}, "adapter has the width '4'"),
    ],
)
def test_wrong_widths_are_told(widths: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Subnet(**widths)
    assert told in caught.value.problem


def test_several_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Subnet(prompt=[-1], lora=[-2], adapter=[0, 0])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "value", ["not json", "[]", {"prompt": [0]}, {"prompt": [0], "lora": [0], "adapter": 3}, '{"a": 1}', "null"]
)
def test_what_is_no_subnet_is_refused(value: Any) -> None:
    with pytest.raises(SettingsError):
        Subnet.from_json(value)


@given(st.dictionaries(st.sampled_from([*PUBLISHED, "other", "Prompt", 3, None]), st.just([1])))
def test_the_keys_of_what_is_no_subnet_are_told(value: dict[Any, Any]) -> None:
    assume(set(value) != set(PUBLISHED))
    with pytest.raises(SettingsError) as caught:
        Subnet.from_json(value)
    told = caught.value.problems
    assert [problem for problem in told if "no kind of module is called" in problem] == [
        f"subnet: {unknown_kind(str(name))}" for name in value if name not in PUBLISHED
    ]
    if not set(PUBLISHED) <= set(value):
        assert told[-1].endswith(f"found: {', '.join(sorted(map(str, value))) or 'none'}")


def test_a_file_of_many_unknown_kinds_is_refused_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Subnet.from_json({str(number): [1] for number in range(1_000_000)})
    assert len(caught.value.problems) == 11


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.integers()))
def test_the_type_of_what_is_no_mapping_is_told(value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        Subnet.from_json(json.dumps(value))
    assert caught.value.problem.endswith(f"found: {type(value).__name__}")


@given(subnets(2), st.sets(st.sampled_from(PUBLISHED), min_size=1), st.sampled_from(["12", "", 3, None]))
def test_every_module_needs_a_list_of_widths(subnet: Subnet, spoilt: set[str], other: Any) -> None:
    with pytest.raises(SettingsError, match="is no list of widths"):
        Subnet.from_json({**subnet.to_json(), **dict.fromkeys(spoilt, other)})


@given(st.integers(1, 6), st.dictionaries(st.sampled_from(PUBLISHED), st.integers(0, 9)))
def test_a_uniform_subnet_has_the_named_modules_alone(depth: int, widths: dict[str, int]) -> None:
    subnet = Subnet.uniform(depth, **widths)
    assert subnet.depth == depth
    assert all(set(subnet.widths(name)) == {widths.get(name, 0)} for name in PUBLISHED)


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="called 'lora_prj'; the nearest is lora_proj"):
        Subnet(lora=[1], lora_prj=[2])
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        Subnet(lora=[1]).nonsense  # noqa: B018  # the access is what is tested


def test_absent_kinds_make_no_difference() -> None:
    one = Subnet(lora=[0, 2])
    other = Subnet([0, 0], [0, 2], [0, 0], lora_proj=[0, 0])
    assert one == other
    assert hash(one) == hash(other)
    assert one.to_json() == {"prompt": [0, 0], "lora": [0, 2], "adapter": [0, 0]}
    assert one.kinds == ("lora",)
    assert one.block(1) == {"lora": 2}


def test_other_kinds_are_written_and_read_back() -> None:
    subnet = Subnet(lora_fc2=[0, 3], prompt=[1, 0])
    assert subnet.to_json() == {"prompt": [1, 0], "lora": [0, 0], "adapter": [0, 0], "lora_fc2": [0, 3]}
    assert Subnet.from_json(json.dumps(subnet.to_json())) == subnet
    assert subnet.lora_fc2 == (0, 3)
    assert subnet.parameter_count(8) == 8 + 3 * 5 * 8
