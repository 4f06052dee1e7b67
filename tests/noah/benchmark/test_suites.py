"""The suites: their tasks exist, and names are found or told."""

from __future__ import annotations

import pytest

from noah.benchmark.cells import parse_methods
from noah.benchmark.suites import POCKET, SUITES, VTAB
from noah.data.sources.registry import dataset_names
from noah.errors import UsageError
from noah.runs.published_subnets import published_names
from noah.settings.layers import recipe_names


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_suite_names_what_exists(suite: object) -> None:
    for known in SUITES.values():
        assert {task.name for task in known.tasks} <= set(dataset_names())
        assert known.recipe in recipe_names()
        assert parse_methods(",".join(known.methods), published=False) == known.methods


def test_vtab_has_the_published_tasks_in_three_groups() -> None:
    names = [task.name for task in VTAB.tasks]
    assert names == list(published_names()[:19])
    assert [sum(task.group == group for task in VTAB.tasks) for group in VTAB.groups] == [7, 4, 8]


def test_tasks_are_chosen_by_name_or_alias_in_the_suites_order() -> None:
    assert POCKET.choose(None) == POCKET.tasks
    chosen = POCKET.choose("shapes-count, DSPRITES_LOC,rendered_dsprites_loc")
    assert [task.name for task in chosen] == ["rendered_dsprites_loc", "shapes_count"]
    assert [task.name for task in VTAB.choose("oxford_pet,cifar100")] == ["cifar", "oxford_iiit_pet"]


def test_the_order_of_methods() -> None:
    methods = ["lora_all:2", "linear", "bias", "adapter:8", "lora:9", "noah", "lora_proj:17"]
    assert POCKET.in_order(methods) == (
        *("noah", "adapter:8", "lora:9", "lora_proj:17", "bias", "lora_all:2", "linear"),
    )


def test_unknown_tasks_are_all_told() -> None:
    with pytest.raises(UsageError, match=r"has no 'digit' and no 'x'\.\nDid you mean digits\?"):
        POCKET.choose("digit,x")
    with pytest.raises(UsageError, match=r"has no 'qqqq'\.\nIt has digits, rendered_dsprites_loc"):
        POCKET.choose("qqqq")
