"""The suites: their tasks exist, and names are found or told."""

from __future__ import annotations

import pytest

from noah.benchmark.cells import parse_methods
from noah.benchmark.suites import POCKET, SUITES, VTAB, Part
from noah.data.sources.drawn.shifts import SHIFTS
from noah.data.sources.registry import dataset_names
from noah.errors import UsageError
from noah.runs.published_subnets import published_names
from noah.settings.layers import recipe_names


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_a_suite_names_what_exists(suite: object) -> None:
    for known in SUITES.values():
        trained = [task for task in known.tasks if task.source is None]
        assert {task.dataset or task.name for task in trained} <= set(dataset_names())
        assert len(set(known.names)) == len(known.names)
        assert known.recipe in recipe_names()
        assert parse_methods(",".join(known.methods), published=False) == known.methods


def test_vtab_has_the_published_tasks_in_three_groups() -> None:
    names = [task.name for task in VTAB.tasks]
    assert names == list(published_names()[:19])
    assert [sum(task.group == group for task in VTAB.tasks) for group in VTAB.groups] == [7, 4, 8]


def test_tasks_are_chosen_by_name_or_alias_in_the_suites_order() -> None:
    assert POCKET.choose(None) == POCKET.tasks
    chosen = POCKET.choose("shapes-count, DSPRITES_LOC,rendered_dsprites_loc", ["accuracy"])
    assert [task.name for task in chosen] == ["rendered_dsprites_loc", "shapes_count"]
    assert [task.name for task in VTAB.choose("oxford_pet,cifar100")] == ["cifar", "oxford_iiit_pet"]


def names(text: str | None, *parts: Part) -> list[str]:
    return [task.name for task in POCKET.choose(text, parts or None)]


def test_parts_and_the_tasks_of_a_dataset() -> None:
    assert names(None, "accuracy") == [
        "digits",
        "rendered_dsprites_loc",
        "rendered_dsprites_ori",
        "shapes_count",
        "shapes_largest",
        "rendered_letters",
    ]
    few = [f"{name}-{shots}shot" for name in ("shapes_count", "rendered_letters") for shots in (1, 2, 4, 8, 16)]
    assert names(None, "few-shot") == few
    assert names("Rendered_Letters_4shot,rendered-letters-1shot") == [
        "rendered_letters-1shot",
        "rendered_letters-4shot",
    ]
    assert names("shapes_count") == ["shapes_count", *few[:5], "shapes_count_grounds"]
    assert names("dsprites_loc", "few-shot", "shift") == ["rendered_dsprites_loc", "rendered_dsprites_loc_noise"]
    assert POCKET.choose_parts(None) == ("accuracy", "few-shot", "shift")
    assert POCKET.choose_parts(["shift", "Few_Shot", "shift"]) == ("few-shot", "shift")
    with pytest.raises(UsageError, match=r"vtab has no 'shift'\.\nIt has accuracy\."):
        VTAB.choose_parts(["shift"])
    with pytest.raises(UsageError, match="--tasks: the chosen part of pocket has no 'digits'"):
        POCKET.choose("digits", ["few-shot"])


def test_every_shift_tests_the_subnets_of_its_source() -> None:
    targets = [task for task in POCKET.tasks if task.source is not None]
    assert {task.name: task.source for task in targets} == {shift.name: shift.source for shift in SHIFTS}
    for task in targets:
        assert names(task.name) == [task.source, task.name]
    assert POCKET.task("rendered_digits").label == "digits\n-> rendered_digits"


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
