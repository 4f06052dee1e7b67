"""Racing: exact racing finds the best that a full evaluation finds, and looks at fewer images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from noah.evaluation.accuracy import Score
from noah.evaluation.score import score
from noah.nas.candidate import Candidate, front, rank
from noah.nas.outcome import Outcome
from noah.nas.racing import (
    Difficulty,
    Look,
    Rules,
    expected_errors,
    is_lost,
    look_at,
    next_images,
    outcome_of,
    sign_test,
)
from noah.space.subnet import Subnet
from tests.noah.shared_search import SETTINGS, Answers, make_task, run_search

SUBNET = Subnet.uniform(1, lora=1)


def outcome(wrong: list[int], images: int, entropy: float = 1.0, shown: list[int] | None = None) -> Outcome:
    total = images if shown is None else len(shown)
    return Outcome(Score(total - len(wrong), total, entropy), tuple(wrong), None if shown is None else tuple(shown))


def look(shown: list[int], wrong: list[int], entropy: float = 0.0) -> Look:
    return Look(tuple(shown), tuple(wrong), entropy)


def rules(rule: Any = "exact", images: int = 8, *, smallest_batch: int = 2, batch_size: int = 4) -> Rules:
    return Rules(rule, images, 1, smallest_batch, batch_size)


class Recording:
    """Answers that keep which images each subnet was shown."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.shown: dict[Subnet, list[list[int]]] = {}

    def show(self, subnet: Subnet, images: NDArray[np.int64]) -> Look:
        self.shown.setdefault(subnet, []).append(images.tolist())
        return self.answers.show(subnet, images)


def race(answers: Answers, rule: str, *, smallest: int = 3, batch: int = 16, **changes: Any) -> list[Candidate]:
    """A whole search; every look is of a batch that is allowed, at images that the subnet was not shown before."""
    task = make_task(
        SETTINGS.model_copy(update={"racing": rule, **changes}),
        images=answers.images,
        smallest_batch=smallest,
        batch_size=batch,
    )
    recording = Recording(answers)
    candidates = run_search(task, recording.show)
    assert len(candidates) == task.planned
    for candidate in candidates:
        looks = recording.shown[candidate.subnet]
        assert all(1 <= len(images) <= batch for images in looks)
        shown = [image for images in looks for image in images]
        assert len(set(shown)) == len(shown) == candidate.score.total
        assert candidate.outcome.shown in (None, tuple(sorted(shown)))
        assert candidate.outcome.complete == (len(shown) == answers.images)
    return candidates


SAMPLERS = st.sampled_from(["evolution", "random", "nsga2", "tpe"])


@given(
    st.integers(1, 60),
    st.integers(2, 12),
    st.integers(0, 2),
    st.integers(1, 12),
    st.integers(0, 2**31),
    st.booleans(),
    st.integers(1, 8),
    st.integers(0, 60),
    SAMPLERS,
)
@settings_of_hypothesis(max_examples=30)
def test_the_best_and_their_order_are_those_of_a_full_evaluation(
    images: int,
    population: int,
    generations: int,
    top: int,
    seed: int,
    coarse: bool,
    smallest: int,
    more: int,
    sampler: str,
) -> None:
    answers = Answers(images, seed=seed, coarse=coarse)
    changes = {"population": population, "generations": generations, "top": top, "sampler": sampler, "parents": 2}
    full = race(answers, "off", batch=smallest + more, **changes)
    raced = race(answers, "exact", smallest=smallest, batch=smallest + more, **changes)
    # The same subnets come up, and what is known of the best is the same to the last bit.
    assert [(c.index, c.origin, c.subnet) for c in raced] == [(c.index, c.origin, c.subnet) for c in full]
    assert [c.outcome for c in full] == [answers.outcome(c.subnet) for c in full]
    assert rank(raced)[:top] == rank(full)[:top]
    assert all(ours == theirs for ours, theirs in zip(raced, full, strict=True) if ours.outcome.complete)


@pytest.mark.slow
@given(st.integers(5, 50), st.integers(1, 6), st.integers(0, 2**31), st.booleans(), SAMPLERS)
@settings_of_hypothesis(max_examples=8)
def test_with_two_objectives_everything_that_few_dominate_is_known(
    images: int, top: int, seed: int, coarse: bool, sampler: str
) -> None:
    answers = Answers(images, seed=seed, coarse=coarse)
    changes = {"top": top, "objective": "accuracy,params", "parents": 2, "sampler": sampler}
    full = race(answers, "off", **changes)
    raced = race(answers, "exact", **changes)
    assert [c.subnet for c in raced] == [c.subnet for c in full]
    for ours, candidate in zip(raced, full, strict=True):
        assert candidate.cost == candidate.parameters == ours.cost
        others = sum(o.rank_key < candidate.rank_key and o.cost <= candidate.cost for o in full)
        if others < top:
            assert ours == candidate


@pytest.mark.parametrize("objective", ["accuracy", "accuracy,params"])
def test_fewer_images_are_looked_at_and_the_winner_is_found_by_a_test_too(objective: str) -> None:
    answers = Answers(200, seed=1)
    large = {"population": 40, "generations": 1, "top": 4, "objective": objective}
    full, exact, paired = (race(answers, rule, smallest=8, batch=64, **large) for rule in ("off", "exact", "paired"))
    shown = [sum(candidate.score.total for candidate in raced) for raced in (full, exact, paired)]
    assert shown[0] == 80 * 200
    assert max(shown[1:]) < (0.5 if objective == "accuracy" else 0.7) * shown[0]
    assert rank(exact)[:4] == rank(full)[:4]
    assert front(exact) == front(full)
    assert rank(paired)[0].index == rank(full)[0].index


def test_a_full_evaluation_gives_the_score_of_all_images_in_their_order() -> None:
    answers = Answers(37)
    recording = Recording(answers)
    task = make_task(SETTINGS.model_copy(update={"racing": "off", "generations": 0}), images=37)
    for candidate in run_search(task, recording.show):
        logits = answers.logits(candidate.subnet)
        expected = score(logits, answers.labels)
        assert (candidate.score.correct, candidate.score.total) == (expected.correct, 37)
        assert candidate.score.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-9)
        assert candidate.outcome.wrong == tuple(np.flatnonzero(logits.argmax(axis=1) != answers.labels))
        assert recording.shown[candidate.subnet] == [[*range(16)], [*range(16, 32)], [*range(32, 37)]]


@given(st.integers(1, 40), st.integers(0, 2**31), st.randoms())
def test_the_same_images_give_the_same_outcome_however_they_are_shown(images: int, seed: int, order: Any) -> None:
    answers = Answers(images, seed=seed)
    shuffled = list(range(images))
    order.shuffle(shuffled)
    cut = order.randint(0, images)
    parts = [np.array(part) for part in (shuffled[:cut], shuffled[cut:]) if part]
    looks = [answers.show(SUBNET, part) for part in parts]
    assert outcome_of(looks, images) == answers.outcome(SUBNET)
    assert [Look.from_json(each.to_json()) for each in looks] == looks


def test_a_look_says_what_was_wrong() -> None:
    images, labels = np.array([7, 2, 5]), np.array([0, 1, 1])
    found = look_at(images, labels, np.float32([[2, 0], [2, 0], [0, 0]]))
    assert (found.images, found.wrong) == ((7, 2, 5), (2, 5))  # of equal logits the first counts
    assert found.entropy == pytest.approx(math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2)) + math.log(2))
    assert outcome_of([found], 9) == Outcome(Score(1, 3, found.entropy / 3), (2, 5), (2, 5, 7))


def test_images_come_hardest_first() -> None:
    difficulty = Difficulty(5)
    assert difficulty.shares.tolist() == [0.5] * 5
    difficulty.add(look([0, 1, 2, 3], [0, 3]))
    difficulty.add(look([1, 3], [3]))
    assert difficulty.shares.tolist() == [0.75, 0.5 / 3, 0.25, 2.5 / 3, 0.5]
    assert next_images(rules(images=5), difficulty.shares, [], None).tolist() == [3, 0]
    assert next_images(rules(images=5), difficulty.shares, [look([3, 4], [])], None).tolist() == [0, 2]
    assert next_images(rules("off", 5), difficulty.shares, [], None).tolist() == [0, 1, 2, 3]
    # With two mistakes less than the bound it takes three more at the least, and never more than a batch.
    bound = outcome([0, 1], 5)
    assert next_images(rules(images=5), difficulty.shares, [], bound).tolist() == [3, 0, 4]
    assert next_images(rules(images=5), difficulty.shares, [look([3], [3])], bound).tolist() == [0, 4]
    assert next_images(rules(images=5), difficulty.shares, [look([3], [])], outcome([0, 1, 2, 4], 5)).tolist() == [
        0,
        4,
        2,
        1,
    ]


@given(st.data())
def test_no_image_comes_twice_and_no_batch_is_too_large(data: st.DataObject) -> None:
    images = data.draw(st.integers(1, 30))
    smallest = data.draw(st.integers(1, 10))
    race = Rules(data.draw(st.sampled_from(["exact", "paired", "off"])), images, 1, smallest, smallest + 5)
    shares = np.array(data.draw(st.lists(st.floats(0, 1), min_size=images, max_size=images)))
    bound = data.draw(st.sampled_from([None, outcome([], images), outcome([*range(images // 2)], images)]))
    looks: list[Look] = []
    seen: list[int] = []
    while len(seen) < images:
        chosen = next_images(race, shares, looks, bound).tolist()
        left = images - len(seen)
        assert min(smallest, left) <= len(chosen) <= min(smallest + 5, left)
        unseen = [image for image in range(images) if image not in {*seen, *chosen}]
        if race.rule != "off" and unseen:
            assert min(shares[chosen]) >= max(shares[unseen])
        seen += chosen
        looks.append(look(chosen, [image for image in chosen if data.draw(st.booleans())]))
    assert sorted(seen) == list(range(images))


def test_expected_errors() -> None:
    shares = np.array([0.5, 0.25, 0.25, 1.0])
    assert expected_errors(shares, []) == pytest.approx(2.0)  # as good as the others
    assert expected_errors(shares, [look([3], [3])]) == pytest.approx(1 + 1.0 * 2 / 2)
    assert expected_errors(shares, [look([3], [])]) == pytest.approx(0 + 1.0 * 1 / 2)
    assert expected_errors(shares, [look([3], [3]), look([0, 1, 2], [2])]) == pytest.approx(2)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_sign_test_is_the_binomial_one(worse: int, better: int) -> None:
    expected = binomtest(worse, worse + better, alternative="greater").pvalue if worse + better else 1.0
    assert sign_test(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("mistakes", "entropy", "lost"),
    [
        (1, 99.0, False),  # two mistakes are allowed
        (2, 3.9, False),  # equally accurate and surer so far, if all the rest is right
        (2, 4.0, False),  # a tie is not lost: the earlier of the two wins it
        (2, 4.1, True),
        (3, 0.0, True),
    ],
)
def test_when_a_candidate_is_lost(mistakes: int, entropy: float, lost: bool) -> None:
    bound = outcome([6, 7], 8, entropy=0.5)
    looks = [look([0, 1], [0, 1][:mistakes], entropy / 2), look([2, 3], [2][: max(mistakes - 2, 0)], entropy / 2)]
    assert is_lost(rules(), looks, bound) == lost
    assert not is_lost(rules(), looks, None)
    assert not is_lost(rules("off"), looks, bound)
    assert not is_lost(rules(), [], bound)


def test_paired_racing_gives_up_what_is_worse_on_the_same_images() -> None:
    easy, hard = list(range(8)), list(range(8, 17))
    bound = outcome([*easy, 50], 100)
    same = [look(list(range(20)), easy)]
    other = [look(list(range(20)), hard)]  # nine mistakes that the bound does not make, and none that it does
    assert sign_test(9, 8) > 0.01 > sign_test(9, 0)
    assert not is_lost(rules("paired", 100), same, bound)
    assert not is_lost(rules("paired", 100), other, bound)
    unlike = outcome([50, *range(60, 68)], 100)
    assert not is_lost(rules("exact", 100), other, unlike)
    assert is_lost(rules("paired", 100), other, unlike)
    assert not is_lost(rules("paired", 100), [look(hard[:5], hard[:5])], unlike)  # too few to tell


def test_what_was_given_up_ranks_last_and_says_what_it_was_shown() -> None:
    outcomes = [outcome([0, 1, 2], 4), outcome([], 4, shown=[3]), outcome([0], 4)]
    candidates = [Candidate(i, 0, "random", SUBNET, 1, given) for i, given in enumerate(outcomes)]
    assert [c.index for c in rank(candidates)] == [2, 0, 1]
    assert [c.to_json()["shown"] for c in candidates] == [None, "3:AQ==", None]
    assert [Candidate.from_json(c.to_json()) for c in candidates] == candidates
