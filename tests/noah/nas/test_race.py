"""Rounds of a race: the same whoever brings which look when, and ended only by the last of them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from noah.nas.candidate import Candidate, rank
from noah.nas.race import Race, Task
from noah.nas.study import Entry
from tests.noah.shared_search import SETTINGS, Answers, make_task

ANSWERS = Answers(30)


def task_of(rule: str, **changes: Any) -> Task:
    settings = SETTINGS.model_copy(update={"racing": rule, "generations": 2, **changes})
    return make_task(settings, images=ANSWERS.images)


def run(task: Task, rng: random.Random, *, forgetful: bool = False) -> tuple[list[Candidate], list[int]]:
    """A whole search whose looks come in any order; a forgetful one knows nothing but the record at each of them.

    Returns:
        The candidates, and how many looks each round asked for.
    """
    entries: dict[int, Entry] = {}
    race, asked = Race(task), dict[int, Any]()
    sizes: list[int] = []
    while True:
        race = Race(task) if forgetful else race
        race.follow(entries)
        if race.over:
            return race.candidates, sizes
        if race.wanted:
            entries |= {proposal.index: Entry(proposal.index, proposal) for proposal in race.wanted}
            continue
        if race.asked.keys() != asked.keys() or not all(np.array_equal(race.asked[i], asked[i]) for i in asked):
            asked = dict(race.asked)
            sizes.append(len(asked))
        entry = rng.choice(race.missing(entries))
        index = entry.proposal.index
        look = ANSWERS.show(entry.proposal.subnet, race.asked[index])
        entries[index] = replace(entry, looks=(*entry.looks, look))


@given(st.sampled_from(["exact", "paired", "off"]), st.randoms(use_true_random=False), st.booleans())
@settings_of_hypothesis(max_examples=6)
def test_the_order_of_looks_does_not_matter(rule: str, rng: random.Random, forgetful: bool) -> None:
    task = task_of(rule)
    assert run(task, rng, forgetful=forgetful)[0] == run(task, random.Random(0))[0]


@pytest.mark.parametrize("objective", ["accuracy", "accuracy,params"])
def test_exact_rounds_find_the_best_of_a_full_evaluation(objective: str) -> None:
    raced, sizes = run(task_of("exact", objective=objective), random.Random(0))
    full, _ = run(task_of("off", objective=objective), random.Random(0))
    assert [each.subnet for each in rank(raced)[:1]] == [each.subnet for each in rank(full)[:1]]
    assert sum(each.score.total for each in raced) < sum(each.score.total for each in full)
    assert sizes[0] == SETTINGS.population  # all new ones at once
    assert sizes[1] == SETTINGS.top  # as many as have to be found go on
