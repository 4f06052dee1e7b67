"""Optuna's samplers as pure functions: what they suggest is new, allowed, and a matter of their arguments alone."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray

from noah.cost.macs import macs_of
from noah.errors import SettingsError
from noah.evaluation.accuracy import Score
from noah.nas.candidate import Candidate, dominators
from noah.nas.evolution import evaluations, needed_exactly, propose_generation
from noah.nas.outcome import Outcome
from noah.nas.racing import Look
from noah.nas.samplers import directions, suggest
from noah.settings.layers import assignment_layer, resolve
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Bound, Budget
from noah.space.operators import sample
from noah.space.search_space import SearchSpace, make_space
from noah.space.subnet import Subnet
from tests.noah.architectures import make_backbone
from tests.noah.shared_search import BUDGET, SETTINGS, SPACE, Answers, make_task, run_search

SAMPLERS = ["nsga2", "tpe"]
SEED = (3, 2)


def settings_of(sampler: str, **changes: Any) -> EvolutionSettings:
    return SETTINGS.model_copy(update={"sampler": sampler, "racing": "off", **changes})


def first_generation(
    space: SearchSpace, budget: Budget, settings: EvolutionSettings, images: int = 40
) -> list[Candidate]:
    proposals = propose_generation(0, [], space, budget, settings, SEED)
    answers = Answers(images)
    return [
        Candidate(
            p.index,
            0,
            p.origin,
            p.subnet,
            p.subnet.parameter_count(space.embed_dim),
            answers.outcome(p.subnet),
            0 if settings.objective == "accuracy" else p.subnet.parameter_count(space.embed_dim),
        )
        for p in proposals
    ]


@pytest.fixture(scope="module")
def macs_budget() -> tuple[SearchSpace, Budget]:
    """A space of the tiny class-token backbone, and a bound of work that about half of it exceeds."""
    backbone = make_backbone("class token")
    space = make_space(
        4, backbone.embed_dim, {"prompt": (1, 2, 5), "lora": (1, 3), "adapter": (2, 4, 9)}, (1, 2, 4), "any"
    )
    cost = macs_of(backbone, 3)
    rng = np.random.default_rng(0)
    middle = float(np.median([cost(sample(space, rng)) for _ in range(50)]))
    return space, Budget((Bound("macs", middle, cost),))


@pytest.mark.parametrize("objective", ["accuracy", "accuracy,params"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_are_new_inside_space_and_budget_and_depend_on_nothing_else(
    sampler: str, objective: str, macs_budget: tuple[SearchSpace, Budget]
) -> None:
    settings = settings_of(sampler, objective=objective)
    for space, budget in ((SPACE, BUDGET), (SPACE, Budget()), macs_budget):
        candidates = first_generation(space, budget, settings)
        arguments = (settings, candidates, space, budget, [*SEED, 8, 1])
        suggested = suggest(*arguments, 8)
        np.random.seed(1)  # a sampler that drew from NumPy's own numbers would be seen
        assert suggest(*arguments, 8) == suggested
        assert suggest(*arguments, 5) == suggested[:5]
        found = [subnet for subnet in suggested if subnet is not None]
        assert len(found) >= 6
        assert len({*found, *(c.subnet for c in candidates)}) == len(found) + len(candidates)
        assert all(space.contains(subnet) and budget.admits(subnet) for subnet in found)
        assert suggest(*arguments[:-1], [*SEED, 9, 1], 8) != suggested


@given(st.sampled_from(SAMPLERS), st.sampled_from(["accuracy", "accuracy,params"]), st.integers(0, 2**31))
@settings_of_hypothesis(max_examples=8)
def test_what_was_seen_of_candidates_that_were_given_up_changes_nothing(
    sampler: str, objective: str, seed: int
) -> None:
    """How many images a candidate was shown until it was given up is a matter of the order of evaluations."""
    settings = settings_of(sampler, objective=objective, racing="exact", population=8, generations=2, top=1)
    task = make_task(settings, images=30, seed=(seed, 2))
    candidates = [c for c in run_search(task, Answers(30, seed=seed).show) if c.generation < 2]
    rng = np.random.default_rng(seed)

    def otherwise(candidate: Candidate) -> Candidate:
        if candidate.outcome.complete:
            return candidate
        shown = int(rng.integers(1, 30))
        wrong = int(rng.integers(0, shown + 1))
        seen = Outcome(Score(shown - wrong, shown, float(rng.random())), tuple(range(wrong)), tuple(range(shown)))
        return replace(candidate, outcome=seen)

    changed = [otherwise(candidate) for candidate in candidates]
    arguments = (SPACE, BUDGET, (seed, 16, 1), 4)
    assert suggest(settings, candidates, *arguments) == suggest(settings, changed, *arguments)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_good_candidates_draw_the_suggestions_to_them(sampler: str) -> None:
    """Where accuracy grows with LoRA's widths and nothing else, later generations have wider ones."""

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        shown = tuple(images.tolist())
        return Look(shown, tuple(image for image in shown if image >= 2 * sum(subnet.lora)), float(len(shown)))

    settings = settings_of(sampler, population=20, generations=5)
    candidates = run_search(make_task(settings, budget=Budget(), images=30), show)
    widths = [np.mean([sum(c.subnet.lora) for c in candidates if c.generation == g]) for g in (0, 5)]
    assert widths[1] > widths[0] + 1
    assert [c.origin for c in candidates if c.generation == 0] == ["random"] * 20
    assert {c.origin for c in candidates if c.generation} <= {sampler, "random"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_that_is_nearly_used_up_gives_none(sampler: str) -> None:
    space = make_space(2, 8, {"lora": (1, 2)}, (1, 2))  # 6 subnets
    settings = settings_of(sampler, population=6, generations=3)
    candidates = first_generation(space, Budget(), settings)
    assert len(candidates) == evaluations(space, Budget(), settings) == 6
    assert suggest(settings, candidates, space, Budget(), [1], 2) == [None, None]
    last = candidates[-1].subnet
    suggested = suggest(settings, candidates[:-1], space, Budget(), [1], 2)
    assert set(suggested) <= {last, None}
    assert suggested.count(last) <= 1


def test_as_many_are_needed_exactly_as_the_sampler_looks_at() -> None:
    needed = {sampler: needed_exactly(settings_of(sampler)) for sampler in ("evolution", "nsga2", "tpe", "random")}
    assert needed == {"evolution": 4, "nsga2": 8, "tpe": 25, "random": 4}
    assert needed_exactly(settings_of("tpe", top=40)) == 40
    assert needed_exactly(settings_of("evolution", parents=7)) == 7


def test_one_subnet_a_generation_is_refused_where_two_are_crossed() -> None:
    with pytest.raises(SettingsError, match=r"search\.sampler: nsga2 needs a population of at least 2"):
        resolve([assignment_layer("search.population=1"), assignment_layer("search.sampler=nsga2")])
    resolve([assignment_layer("search.population=1"), assignment_layer("search.sampler=tpe")])


def test_directions_and_no_noise() -> None:
    up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
    assert directions(settings_of("tpe")) == [up]
    assert directions(settings_of("tpe", objective="accuracy,macs")) == [up, down]
    settings = settings_of("tpe", objective="accuracy,params")
    candidates = first_generation(SPACE, BUDGET, settings)
    assert dominators(candidates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suggest(settings, candidates, SPACE, BUDGET, [1], 2)
        suggest(settings_of("nsga2"), candidates, SPACE, BUDGET, [1], 2)
