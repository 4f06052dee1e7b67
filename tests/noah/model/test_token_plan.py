"""Which prompt tokens are new, carried, passed on, against a walk through the definition."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.backbone.view import Readers
from noah.model.attention import read_tokens
from noah.model.token_plan import BlockPlan, plan_tokens

widths = st.lists(st.integers(0, 3), min_size=1, max_size=8)


@given(widths, st.sampled_from([Readers.CLASS, Readers.PATCHES]))
def test_every_block_has_the_tokens_of_the_definition(prompt: list[int], readers: Readers) -> None:
    alive = 0
    for index, plan in enumerate(plan_tokens(prompt, readers)):
        before, alive = alive, prompt[index] or alive
        last = index == len(prompt) - 1
        assert plan.new_prompts == prompt[index]
        assert plan.carried == (0 if prompt[index] else before)
        assert plan.new_prompts + plan.carried == alive
        assert plan.passed_on == (0 if last or prompt[index + 1] else alive)
        assert plan.readers is (readers if last else Readers.ALL)


@given(widths)
def test_what_is_passed_on_is_carried_next(prompt: list[int]) -> None:
    plans = plan_tokens(prompt, Readers.CLASS)
    assert all(plan.passed_on == after.carried for plan, after in itertools.pairwise(plans))


def test_gaps_are_replaced_not_piled_up() -> None:
    assert plan_tokens([4, 0, 0, 3], Readers.CLASS) == (
        BlockPlan(4, 0, 4, Readers.ALL),
        BlockPlan(0, 4, 4, Readers.ALL),
        BlockPlan(0, 4, 0, Readers.ALL),
        BlockPlan(3, 0, 0, Readers.CLASS),
    )


@pytest.mark.parametrize(
    ("readers", "carried", "passed_on", "expected"),
    [
        (Readers.CLASS, 2, 0, range(0, 1)),
        (Readers.PATCHES, 2, 0, range(3, 8)),
        (Readers.ALL, 2, 0, range(0, 8)),
        (Readers.ALL, 2, 2, range(0, 10)),
        (Readers.PATCHES, 0, 0, range(3, 10)),
        (Readers.IMAGE, 2, 0, range(0, 8)),
        (Readers.PREFIX, 2, 0, range(0, 3)),
    ],
)
def test_read_tokens(readers: Readers, carried: int, passed_on: int, expected: range) -> None:
    found = read_tokens(readers, prefix=3, tokens=10, carried=carried, passed_on=passed_on)
    assert range(*found.indices(10)) == expected
