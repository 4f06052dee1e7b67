from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray

from noah.errors import EmptySpaceError, SettingsError
from noah.evaluation.accuracy import Score
from noah.nas import evolution
from noah.nas.candidate import Candidate, Proposal, as_good_as, rank
from noah.nas.evolution import EVEN, SINGLE, check_invited, evaluations, propose_generation
from noah.nas.outcome import Outcome
from noah.nas.racing import Look
from noah.settings.settings import EvolutionSettings
from noah.space.baselines import even_mixtures, singles
from noah.space.budget import Bound, Budget, parameter_budget
from noah.space.kinds import PUBLISHED
from noah.space.operators import cross_over, mutate, sample
from noah.space.search_space import SearchSpace, make_space
from noah.space.subnet import Subnet
from tests.noah.shared_search import SPACE, make_task, run_search
from tests.noah.space.test_repair import work_of
from tests.noah.strategies import spaces

TINY = make_space(2, 8, {"lora": (1, 2), "adapter": (1, 3)}, (1, 2))  # 6 x 6 subnets
SETTINGS = EvolutionSettings(generations=3, population=8, parents=3, mutations=3, crossovers=3, racing="off")
BUDGET = parameter_budget(600, 8)

IMAGES = 20


def quality(subnet: Subnet) -> Score:
    """Arbitrary, and the same for the same subnet: accuracy in coarse steps, as on a small validation split."""
    rng = np.random.default_rng([width for module in PUBLISHED for width in subnet.widths(module)])
    return Score(int(rng.integers(IMAGES)), IMAGES, float(rng.integers(1, 2**20)) / 2**20)


def complete(score: Score) -> Outcome:
    """The outcome of a subnet that was shown every image, and got the last ones wrong."""
    return Outcome(score, tuple(range(score.correct, score.total)))


def search(
    seed: tuple[int, ...] = (0, 2),
    *,
    space: SearchSpace = SPACE,
    budget: Budget = BUDGET,
    settings: EvolutionSettings = SETTINGS,
    evaluate: Callable[[Subnet], Score] = quality,
) -> list[Candidate]:
    """A whole search; every subnet is evaluated once, on all images at a time."""
    scores: dict[Subnet, Score] = {}

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        score = scores.setdefault(subnet, evaluate(subnet)) if subnet not in scores else scores[subnet]
        shown = tuple(images.tolist())
        return Look(shown, tuple(i for i in shown if i >= score.correct), score.cross_entropy * len(shown))

    return run_search(make_task(settings, space=space, budget=budget, seed=seed, images=IMAGES), show)


def all_subnets(space: SearchSpace, budget: Budget) -> set[Subnet]:
    """Every subnet of a small space, one by one."""
    choices = [itertools.product((0, *space.modules[name].widths), repeat=space.blocks) for name in PUBLISHED]
    subnets = (Subnet(*widths) for widths in itertools.product(*map(list, choices)))
    return {subnet for subnet in subnets if space.contains(subnet) and budget.admits(subnet)}


def test_the_same_seed_gives_the_same_search_and_another_seed_another() -> None:
    assert search() == search()
    assert [c.subnet for c in search((1, 2))] != [c.subnet for c in search()]


@pytest.mark.parametrize("population", [4, 8])
def test_a_search_that_knows_baselines_begins_with_them(population: int) -> None:
    space = make_space(2, 8, {"lora": (1, 2), "adapter": (1, 3), "bias": (1,)}, (0, 1, 2))
    settings = SETTINGS.model_copy(update={"baselines": True, "population": population})
    budget = parameter_budget(300, 8)
    alone, even = singles(space, budget), even_mixtures(space, budget)
    assert list(alone) == ["lora", "adapter", "bias", "linear"]
    assert list(even) == ["lora+adapter", "lora+bias", "adapter+bias", "lora+adapter+bias"]
    candidates = search(space=space, budget=budget, settings=settings)
    assert [c.subnet for c in candidates[:8]] == [*alone.values(), *even.values()]
    origins = [c.origin for c in candidates]
    assert origins[:8] == [SINGLE] * 4 + [EVEN] * 4
    assert not {SINGLE, EVEN} & set(origins[8:])
    assert len({c.subnet for c in candidates}) == len(candidates)


def test_baselines_fill_no_more_than_half_of_a_search_but_those_that_are_invited_come() -> None:
    space = make_space(2, 8, {"lora": (1, 2), "adapter": (1, 3), "bias": (1,), "scale_shift": (1,)}, (0, 1, 2))
    budget = parameter_budget(900, 8)
    alone, even = singles(space, budget), even_mixtures(space, budget)
    assert (len(alone), len(even)) == (5, 7)
    invited = ("lora", "adapter+scale_shift")
    changes = {"baselines": True, "population": 4, "generations": 3, "invited": invited}
    candidates = search(space=space, budget=budget, settings=SETTINGS.model_copy(update=changes))
    rest = [subnet for name, subnet in alone.items() if name != "lora"]
    first = [alone["lora"], even["adapter+scale_shift"], *rest, even["lora+adapter"], even["lora+bias"]]
    assert [c.subnet for c in candidates[:8]] == first
    assert not {SINGLE, EVEN} & {c.origin for c in candidates[8:]}
    check_invited(space, budget, SETTINGS.model_copy(update=changes))


def test_a_short_search_sees_those_that_are_invited_before_other_single_modules() -> None:
    space = make_space(2, 8, {"lora": (1, 2), "adapter": (1, 3), "bias": (1,), "scale_shift": (1,)}, (0, 1, 2))
    budget = parameter_budget(900, 8)
    changes = {"baselines": True, "population": 2, "generations": 1, "invited": ("lora+bias",)}
    candidates = search(space=space, budget=budget, settings=SETTINGS.model_copy(update=changes))
    alone, even = singles(space, budget), even_mixtures(space, budget)
    assert [c.subnet for c in candidates[:2]] == [even["lora+bias"], alone["lora"]]
    assert len(candidates) == 4


def test_more_invitations_than_a_search_sees_are_refused() -> None:
    space = make_space(2, 8, {"lora": (1, 2), "adapter": (1, 3)}, (0, 1, 2))
    changes = {"baselines": True, "population": 1, "generations": 1, "invited": ("lora", "adapter", "linear")}
    with pytest.raises(SettingsError, match="a search of 2 subnets is too short for 3 invited ones"):
        check_invited(space, parameter_budget(900, 8), SETTINGS.model_copy(update=changes))


@given(
    st.integers(0, 2**31),
    st.sampled_from([None, 400, 600, 900]),
    st.integers(1, 9),
    st.integers(0, 9),
    st.sampled_from(["evolution", "nsga2", "tpe", "random", "published"]),
)
@settings_of_hypothesis(max_examples=40, deadline=None)
def test_every_candidate_is_new_and_inside_space_and_budget(
    seed: int, limit: int | None, population: int, mutations: int, sampler: str
) -> None:
    budget = parameter_budget(limit, 8)
    settings = SETTINGS.model_copy(
        update={
            "generations": 2,
            "population": population,
            "parents": 2,
            "mutations": mutations,
            "crossovers": 2,
            "sampler": sampler,
        }
    )
    candidates = search((seed,), budget=budget, settings=settings)
    assert len({c.subnet for c in candidates}) == len(candidates) == evaluations(SPACE, budget, settings)
    for index, candidate in enumerate(candidates):
        assert (candidate.index, candidate.generation) == (index, index // population)
        assert SPACE.contains(candidate.subnet)
        assert candidate.parameters == candidate.subnet.parameter_count(SPACE.embed_dim)
        assert budget.admits(candidate.subnet)
        assert candidate.score == quality(candidate.subnet)


@given(
    spaces(max_blocks=4),
    st.sampled_from(["evolution", "nsga2", "tpe", "random", "published"]),
    st.sampled_from([0.05, 0.3, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings_of_hypothesis(max_examples=30)
def test_every_sampler_stays_inside_any_space_and_budget(
    space: SearchSpace, sampler: str, room: float, bounds_work: bool, seed: int
) -> None:
    """Modules in the first blocks or in any; budgets of parameters alone, or of work as well."""
    cheapest, dearest = (subnet.parameter_count(space.embed_dim) for subnet in (space.smallest, space.largest))
    budget = parameter_budget(int(cheapest + room * (dearest - cheapest)), space.embed_dim)
    if bounds_work:
        macs = work_of(space.blocks, space.embed_dim)
        narrowest = space.narrowest({name: min(module.depths) for name, module in space.modules.items()})
        room_of_work = room * max(macs(space.largest) - macs(narrowest), 0)
        budget = Budget((*budget.bounds, Bound("macs", int(macs(narrowest) + room_of_work), macs)))
    settings = SETTINGS.model_copy(update={"generations": 1, "population": 4, "sampler": sampler})
    with patch.object(evolution, "_DRAWS", 50):  # until a space that is nearly used up counts as exhausted
        candidates = search((seed,), space=space, budget=budget, settings=settings)
    assert 0 < len(candidates) <= evaluations(space, budget, settings)
    assert len({candidate.subnet for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        assert space.contains(candidate.subnet)
        assert budget.admits(candidate.subnet)


def test_a_generation_has_mutations_then_crossovers_then_random_ones() -> None:
    candidates = search()
    assert [c.origin for c in candidates[:8]] == ["random"] * 8
    for generation in range(1, 4):
        origins = [c.origin for c in candidates if c.generation == generation]
        assert origins == ["mutation"] * 3 + ["crossover"] * 3 + ["random"] * 2


def test_without_generations_the_search_is_random() -> None:
    candidates = search(settings=SETTINGS.model_copy(update={"generations": 0}))
    assert [c.origin for c in candidates] == ["random"] * 8


def test_parents_are_the_best_of_all_earlier_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    parents: list[Subnet] = []

    def recorded_mutate(space: SearchSpace, subnet: Subnet, *arguments: Any, **options: Any) -> Subnet:
        parents.append(subnet)
        return mutate(space, subnet, *arguments, **options)

    def recorded_cross_over(
        space: SearchSpace, first: Subnet, second: Subnet, *arguments: Any, **options: Any
    ) -> Subnet:
        parents.extend([first, second])
        return cross_over(space, first, second, *arguments, **options)

    monkeypatch.setattr(evolution, "mutate", recorded_mutate)
    monkeypatch.setattr(evolution, "cross_over", recorded_cross_over)
    candidates = search()
    used: set[Subnet] = set()
    for generation in range(1, 4):
        parents.clear()
        earlier = [c for c in candidates if c.generation < generation]
        proposals = propose_generation(generation, earlier, SPACE, BUDGET, SETTINGS, (0, 2))
        members = [c for c in candidates if c.generation == generation]
        assert proposals == [Proposal(c.index, generation, c.origin, c.subnet) for c in members]
        best = sorted(earlier, key=lambda c: (-c.score.accuracy, c.score.cross_entropy))[:3]
        assert set(parents) <= {c.subnet for c in best}
        used.update(parents)
    assert len(used) > 3  # later generations have other parents


def test_the_last_generation_is_ranked() -> None:
    calls: Iterator[int] = itertools.count()
    candidates = search(evaluate=lambda _: Score(0, IMAGES, 1 / (1 + next(calls))))
    assert rank(candidates)[0] is candidates[-1]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3])), min_size=1, max_size=12), st.randoms())
def test_ties_are_broken_by_cross_entropy_and_then_by_the_earlier(scores: list[tuple[int, float]], order: Any) -> None:
    subnet = TINY.smallest
    candidates = [
        Candidate(i, 0, "random", subnet, 1, complete(Score(c, 3, entropy))) for i, (c, entropy) in enumerate(scores)
    ]
    shuffled = candidates.copy()
    order.shuffle(shuffled)
    ranked = rank(shuffled)
    assert sorted(ranked, key=lambda c: c.index) == candidates
    for better, worse in itertools.pairwise(ranked):
        assert better.score.accuracy >= worse.score.accuracy
        if better.score.accuracy == worse.score.accuracy:
            assert better.score.cross_entropy <= worse.score.cross_entropy
            if better.score.cross_entropy == worse.score.cross_entropy:
                assert better.index < worse.index


@pytest.mark.parametrize("sampler", ["evolution", "nsga2", "tpe", "published"])
@pytest.mark.parametrize("limit", [None, 150, 130, TINY.smallest.parameter_count(8)])
def test_a_small_space_is_searched_to_its_end(limit: int | None, sampler: str) -> None:
    budget = parameter_budget(limit, 8)
    candidates = search(
        space=TINY, budget=budget, settings=SETTINGS.model_copy(update={"generations": 20, "sampler": sampler})
    )
    assert {c.subnet for c in candidates} == all_subnets(TINY, budget)
    assert len(candidates) == TINY.size(budget) == len(all_subnets(TINY, budget))


def test_a_budget_that_admits_nothing_is_refused_before_anything_is_evaluated() -> None:
    def evaluate(subnet: Subnet) -> Score:
        raise AssertionError(subnet)

    with pytest.raises(EmptySpaceError):
        search(budget=parameter_budget(10, 8), evaluate=evaluate)


def test_where_changes_give_nothing_new_a_random_subnet_takes_the_place() -> None:
    still = SETTINGS.model_copy(update={"gene_probability": 0.0, "depth_probability": 0.0, "crossovers": 0})
    candidates = search(settings=still, budget=Budget())
    assert {c.origin for c in candidates} == {"random"}
    assert len({c.subnet for c in candidates}) == 32


@pytest.mark.parametrize("seed", range(5))
def test_the_optimum_of_a_separable_score_is_found(seed: int) -> None:
    """With 384 of 7,644 subnets evaluated; random draws would hit it once in twenty searches."""
    space = make_space(3, 8, {"prompt": (1, 2, 3), "lora": (1, 2), "adapter": (1, 2)}, (1, 2, 3))
    target = sample(space, np.random.default_rng([seed, 77]))

    def matches(subnet: Subnet) -> Score:
        pairs = [zip(subnet.widths(m), target.widths(m), strict=True) for m in PUBLISHED]
        return Score(sum(a == b for pair in pairs for a, b in pair), IMAGES, 0.0)

    settings = EvolutionSettings(generations=15, population=24, parents=6, mutations=12, crossovers=8, racing="off")
    candidates = search((seed,), space=space, budget=Budget(), settings=settings, evaluate=matches)
    assert len(candidates) < space.size() / 10
    assert rank(candidates)[0].subnet == target


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_as_good_as_counts_the_others_within_one_standard_error(correct: list[int]) -> None:
    candidates = [
        Candidate(i, 0, "random", TINY.smallest, 1, complete(Score(c, 40, 0.0))) for i, c in enumerate(correct)
    ]
    accuracies = np.array(correct) / 40
    best = accuracies.max()
    expected = (accuracies >= best - np.sqrt(best * (1 - best) / 40)).sum() - 1
    assert as_good_as(rank(candidates)[0], candidates) == expected


def test_a_candidate_is_written_with_everything_a_reader_wants() -> None:
    candidate = search()[9]
    line = json.loads(json.dumps(candidate.to_json()))
    assert Candidate.from_json(line) == candidate
    assert list(line)[:6] == ["index", "generation", "origin", "subnet", "parameters", "cost"]
    assert line["accuracy"] == candidate.score.accuracy
