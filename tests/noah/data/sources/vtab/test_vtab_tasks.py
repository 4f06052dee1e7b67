from __future__ import annotations

from collections import Counter

from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS, find_vtab_task


def test_the_table_is_that_of_the_benchmark() -> None:
    assert len(VTAB_TASKS) == 19
    assert Counter(task.group for task in VTAB_TASKS) == {"natural": 7, "specialized": 4, "structured": 8}
    assert sum(task.classes for task in VTAB_TASKS) == 940


def test_no_name_means_two_tasks() -> None:
    names = [name for task in VTAB_TASKS for name in task.names]
    assert len(names) == len(set(names))


def test_tasks_are_found_by_name_alias_and_spelling() -> None:
    for name in ("oxford_iiit_pet", "Pets", "oxford-pet"):
        task = find_vtab_task(name)
        assert task is not None and task.name == "oxford_iiit_pet"
    assert find_vtab_task("imagenet") is None
