"""Racing: exact racing finds the best that a full evaluation finds, and looks at fewer images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from noah.candidate import Candidate, rank
from noah.evaluation import Logits, Score, score
from noah.racing import Outcome, Race, image_order, is_lost, run_race, sign_test, start_race
from noah.subnet import Subnet

SUBNET = Subnet.uniform(1, lora=1)


@dataclass(frozen=True)
class Validation:
    """Images with labels, and the logits that each of many candidates gives them."""

    labels: NDArray[np.int64]
    logits: list[Logits]

    def search(self, rule: str, top: int, batch_size: int = 8) -> list[Candidate]:
        """All candidates in turn, each in the race that those before it leave."""
        candidates: list[Candidate] = []
        for index, logits in enumerate(self.logits):
            complete = [candidate for candidate in rank(candidates) if candidate.outcome.complete]
            race = start_race(complete, candidates, images=len(self.labels), top=top, rule=rule)  # type: ignore[arg-type]  # parametrised
            outcome = run_race(race, self.labels, lambda chosen, given=logits: given[chosen], batch_size)
            candidates.append(Candidate(index, 0, "random", SUBNET, 1, outcome))
        return candidates


def make(images: int, candidates: int, seed: int, *, classes: int = 4, coarse: bool = False) -> Validation:
    """Images of different difficulty and candidates of different skill; `coarse` ones often tie in everything."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    difficulty = rng.normal(0, 2, images)
    logits = []
    for skill in rng.normal(1.5, 1, candidates):
        values = rng.normal(0, 1, (images, classes))
        values[np.arange(images), labels] += skill - difficulty
        logits.append((np.sign(values) if coarse else values).astype(np.float32))
    return Validation(labels, logits)


@given(
    st.integers(1, 60), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**31), st.booleans(), st.integers(1, 70)
)
def test_the_best_and_their_order_are_those_of_a_full_evaluation(
    images: int, candidates: int, top: int, seed: int, coarse: bool, batch_size: int
) -> None:
    validation = make(images, candidates, seed, coarse=coarse)
    full = validation.search("off", top, batch_size)
    raced = validation.search("exact", top, batch_size)
    assert [c.index for c in rank(raced)[:top]] == [c.index for c in rank(full)[:top]]
    assert all(c.outcome.complete for c in rank(raced)[:top])
    for ours, theirs in zip(raced, full, strict=True):
        assert theirs.outcome.complete
        if ours.outcome.complete:
            assert (ours.score.correct, ours.outcome.wrong) == (theirs.score.correct, theirs.outcome.wrong)
            assert ours.score.cross_entropy == pytest.approx(theirs.score.cross_entropy, rel=1e-12)


def test_a_full_evaluation_gives_the_score_of_all_images() -> None:
    validation = make(37, 3, 0)
    for candidate, logits in zip(validation.search("off", 1), validation.logits, strict=True):
        expected = score(logits, validation.labels)
        assert (candidate.score.correct, candidate.score.total) == (expected.correct, 37)
        assert candidate.score.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-12)
        wrong = np.flatnonzero(logits.argmax(axis=1) != validation.labels)
        assert candidate.outcome.wrong == tuple(wrong.tolist())


def test_fewer_images_are_looked_at_and_fewer_still_in_paired_racing() -> None:
    validation = make(200, 200, 1)
    full, exact, paired = (validation.search(rule, 10) for rule in ("off", "exact", "paired"))
    shown = [sum(candidate.score.total for candidate in raced) for raced in (full, exact, paired)]
    assert shown[0] == 200 * 200
    assert shown[2] < shown[1] < 0.5 * shown[0]
    assert rank(paired)[0].index == rank(full)[0].index


def outcome(wrong: list[int], images: int, entropy: float = 1.0, shown: list[int] | None = None) -> Outcome:
    total = images if shown is None else len(shown)
    return Outcome(Score(total - len(wrong), total, entropy), tuple(wrong), None if shown is None else tuple(shown))


def test_images_come_hardest_first() -> None:
    assert image_order([], 4).tolist() == [0, 1, 2, 3]
    both = [outcome([2, 3], 4), outcome([3], 4)]
    assert image_order(both, 4).tolist() == [3, 2, 0, 1]
    # Image 1 was wrong whenever it was shown; 0 and 2 only once each of twice, 3 of the first alone.
    partly = [outcome([0, 1], 4), outcome([1, 2], 4, shown=[1, 0, 2])]
    assert image_order(partly, 4).tolist() == [1, 0, 2, 3]


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_sign_test_is_the_binomial_one(worse: int, better: int) -> None:
    expected = binomtest(worse, worse + better, alternative="greater").pvalue if worse + better else 1.0
    assert sign_test(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("mistakes", "entropy", "lost"),
    [
        (1, 99.0, False),  # two mistakes are allowed
        (2, 3.9, False),  # equally accurate and surer so far, if all the rest is right
        (2, 4.1, True),
        (3, 0.0, True),
    ],
)
def test_when_a_candidate_is_lost(mistakes: int, entropy: float, lost: bool) -> None:
    race = Race(np.arange(8), outcome([6, 7], 8, entropy=0.5), "exact")
    errors = np.arange(5) < mistakes
    assert is_lost(race, errors, entropy) == lost
    assert not is_lost(Race(np.arange(8), None, "exact"), errors, entropy)


def test_paired_racing_gives_up_what_is_worse_on_the_same_images() -> None:
    bound = outcome([0, 1, 2, 3, 4, 5, 6, 7, 50], 100)
    same = np.arange(20) < 8  # the same mistakes as the bound
    other = (np.arange(20) >= 8) & (np.arange(20) < 17)  # nine that it does not make, and none that it does
    assert not is_lost(Race(np.arange(100), bound, "paired"), same, 0.0)
    assert not is_lost(Race(np.arange(100), bound, "exact"), other, 0.0)
    assert sign_test(9, 8) > 0.01 > sign_test(9, 0)
    assert not is_lost(Race(np.arange(100), bound, "paired"), other, 0.0)
    assert is_lost(Race(np.arange(100), outcome([50, *range(60, 68)], 100), "paired"), other, 0.0)


def test_a_candidate_that_is_given_up_says_what_it_was_shown() -> None:
    labels = np.zeros(40, dtype=np.int64)
    wrong = np.tile(np.float32([0.0, 1.0]), (40, 1))
    asked: list[int] = []

    def logits_of(chosen: NDArray[np.int64]) -> Logits:
        asked.append(len(chosen))
        return wrong[chosen]

    order = np.arange(40)[::-1].copy()
    found = run_race(Race(order, outcome([0, 1], 40), "exact"), labels, logits_of, batch_size=64)
    assert asked == [16]
    assert found.shown == tuple(range(39, 23, -1))
    assert found.wrong == tuple(range(24, 40))
    assert not found.complete
    assert found.score == Score(0, 16, pytest.approx(math.log(1 + math.e)))


def test_what_was_given_up_ranks_last() -> None:
    outcomes = [outcome([0, 1, 2], 4), outcome([], 4, shown=[3]), outcome([0], 4)]
    candidates = [Candidate(i, 0, "random", SUBNET, 1, given) for i, given in enumerate(outcomes)]
    assert [c.index for c in rank(candidates)] == [2, 0, 1]
