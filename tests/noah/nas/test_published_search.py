"""The published search as a baseline: what it never changes, how it orders, what it never looks at."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from noah.nas.candidate import Candidate
from noah.nas.evolution import winner
from noah.nas.published_search import mutate_depths, rank_by_age, swap_modules
from noah.nas.racing import Look
from noah.settings.settings import EvolutionSettings
from noah.space.budget import parameter_budget
from noah.space.kinds import PUBLISHED
from noah.space.operators import sample
from noah.space.search_space import make_space
from noah.space.subnet import Subnet
from tests.noah.shared_search import make_task, run_search

SPACE = make_space(4, 8, {"prompt": (1, 2, 5), "lora": (1, 3), "adapter": (2, 4)}, (2, 3, 4))
SETTINGS = EvolutionSettings(
    sampler="published", generations=3, population=8, parents=3, mutations=3, crossovers=3, top=1
)
BUDGET = parameter_budget(600, SPACE.embed_dim)


def depth(subnet: Subnet, module: str) -> int:
    return sum(width > 0 for width in subnet.widths(module))


@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.4, 1.0]))
def test_a_width_inside_the_depth_never_changes(seed: int, depth_probability: float) -> None:
    rng = np.random.default_rng(seed)
    parent = sample(SPACE, rng)
    child = mutate_depths(SPACE, parent, rng, depth_probability)
    assert SPACE.contains(child)
    for module in PUBLISHED:
        shared = min(depth(parent, module), depth(child, module))
        assert child.widths(module)[:shared] == parent.widths(module)[:shared]
    if depth_probability == 0.0:
        assert child == parent


def test_every_depth_is_drawn() -> None:
    rng = np.random.default_rng(0)
    children = {mutate_depths(SPACE, SPACE.smallest, rng, 0.4) for _ in range(300)}
    assert {depth(child, "lora") for child in children} == {2, 3, 4}
    assert any(child.lora[2] == 3 for child in children)  # a block that is reached newly gets any width


@given(st.integers(0, 2**31))
def test_a_crossover_takes_modules_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = sample(SPACE, rng), sample(SPACE, rng)
    child = swap_modules(first, second, rng)
    assert all(child.widths(module) in (first.widths(module), second.widths(module)) for module in PUBLISHED)


def search(seed: int, scores: list[int] | None = None, settings: EvolutionSettings = SETTINGS) -> list[Candidate]:
    seen: list[Subnet] = []

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        if subnet not in seen:
            seen.append(subnet)
            assert images.tolist() == list(range(16))  # in their own order: nothing is raced
        rng = np.random.default_rng([width for module in PUBLISHED for width in subnet.widths(module)])
        correct = int(rng.integers(20)) if scores is None else scores[seen.index(subnet)]
        shown = tuple(images.tolist())
        return Look(shown, tuple(image for image in shown if image >= correct), float(rng.random()) * len(shown))

    candidates = run_search(make_task(settings, space=SPACE, budget=BUDGET, seed=(seed, 2), images=20), show)
    assert all(candidate.outcome.complete for candidate in candidates)
    return candidates


@given(st.integers(0, 50))
def test_candidates_are_new_and_inside_the_budget(seed: int) -> None:
    candidates = search(seed)
    assert len({candidate.subnet for candidate in candidates}) == len(candidates) == 32
    assert all(SPACE.contains(c.subnet) and BUDGET.admits(c.subnet) for c in candidates)
    assert {c.origin for c in candidates} == {"random", "mutation", "crossover"}


def test_the_older_of_equals_stays_ahead_and_the_last_generation_is_never_ranked() -> None:
    scores = [10] * 5 + [15] + [15] * 2 + [12] * 16 + [20] * 8
    candidates = search(0, scores)
    assert [c.index for c in rank_by_age(candidates)[:9]] == [*range(24, 32), 5]
    assert winner(candidates, SETTINGS).index == 5
    assert winner(candidates, SETTINGS.model_copy(update={"sampler": "evolution"})).generation == 3
    assert winner(candidates[:8], SETTINGS.model_copy(update={"generations": 0})).index == 5


def test_the_random_sampler_draws_at_random_to_the_end() -> None:
    candidates = search(0, settings=SETTINGS.model_copy(update={"sampler": "random", "racing": "off"}))
    assert len(candidates) == 32
    assert {c.origin for c in candidates} == {"random"}
