"""Which widths matter, on candidates of which it is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from noah.evaluation.score import Score
from noah.nas.candidate import Candidate
from noah.nas.gene_importance import FEWEST, estimated_accuracy, gene_importance
from noah.nas.racing import Outcome
from noah.space.kinds import PUBLISHED
from noah.space.operators import sample
from noah.space.subnet import Subnet
from tests.noah.shared_search import SPACE

IMAGES = 400


def candidate(index: int, subnet: Subnet, wrong: tuple[int, ...], shown: tuple[int, ...] | None = None) -> Candidate:
    total = IMAGES if shown is None else len(shown)
    outcome = Outcome(Score(total - len(wrong), total, 0.5), wrong, shown)
    return Candidate(index, 0, "random", subnet, subnet.parameter_count(SPACE.embed_dim), outcome)


def candidates(count: int, *, matters: bool, seed: int = 0) -> list[Candidate]:
    """Random subnets; the LoRA rank of the first block decides most of the accuracy, or nothing but noise does."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        subnet = sample(SPACE, rng)
        errors = 60 * (subnet.lora[0] == 1) if matters else 0
        wrong = rng.choice(IMAGES, errors + int(rng.integers(40)), replace=False)
        made.append(candidate(index, subnet, tuple(sorted(wrong.tolist()))))
    return made


def test_the_width_that_decides_is_found() -> None:
    found = gene_importance(candidates(80, matters=True), IMAGES, seed=0)
    assert found is not None
    assert found.important == (("lora", 0),)
    value, error = found.importance["lora"][0], found.error["lora"][0]
    assert value is not None and error is not None
    assert value > 0.5 > found.chance > 0
    assert 0 < error < value
    assert 0.5 < found.explained < 1
    assert (found.candidates, found.estimated) == (80, 0)


def test_in_noise_nothing_is_found() -> None:
    found = gene_importance(candidates(60, matters=False), IMAGES, seed=0)
    assert found is not None
    assert found.explained < 0.1
    assert found.important == ()


@pytest.mark.slow
def test_the_same_candidates_and_seed_give_the_same() -> None:
    made = candidates(FEWEST, matters=True)
    assert gene_importance(made, IMAGES, seed=3) == gene_importance(made, IMAGES, seed=3)
    assert gene_importance(made, IMAGES, seed=3) != gene_importance(made, IMAGES, seed=4)


def test_a_width_that_never_changes_has_no_importance() -> None:
    made = [
        replace(c, subnet=Subnet(c.subnet.prompt, c.subnet.lora, (2, 2, 0, 0))) for c in candidates(30, matters=True)
    ]
    found = gene_importance(made, IMAGES, seed=0)
    assert found is not None
    assert found.importance["adapter"] == found.error["adapter"] == (None,) * 4
    assert {len(found.importance[module]) for module in PUBLISHED} == {4}
    assert all(module != "adapter" for module, _ in found.important)


def test_a_candidate_that_failed_tells_nothing() -> None:
    """It got the one image wrong that had no finite logit, which says nothing of how accurate it is."""
    made = candidates(FEWEST, matters=True)
    rng = np.random.default_rng(1)
    failed = [candidate(100 + index, sample(SPACE, rng), (3,), (3,)) for index in range(30)]
    failed = [replace(c, outcome=replace(c.outcome, score=Score(0, 1, math.inf))) for c in failed]
    assert gene_importance([*made, *failed], IMAGES, seed=0) == gene_importance(made, IMAGES, seed=0)


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_too_few_candidates_tell_nothing(count: int) -> None:
    assert gene_importance(candidates(count, matters=True), IMAGES, seed=0) is None


def test_equally_accurate_candidates_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    assert gene_importance([candidate(i, sample(SPACE, rng), (3, 4)) for i in range(30)], IMAGES, seed=0) is None


def test_equal_subnets_tell_nothing() -> None:
    made = [replace(c, subnet=Subnet.uniform(4, lora=1)) for c in candidates(30, matters=True)]
    assert gene_importance(made, IMAGES, seed=0) is None


def test_the_accuracy_of_a_complete_candidate_is_measured() -> None:
    made = candidates(10, matters=True)
    np.testing.assert_allclose(estimated_accuracy(made, IMAGES), [c.score.accuracy for c in made])


def test_the_accuracy_of_one_that_was_given_up_is_estimated_from_the_others() -> None:
    """It was shown the 40 hardest images only, and gets them wrong as often as its equals among the others do."""
    rng = np.random.default_rng(0)
    hard = tuple(range(40))
    subnets = [sample(SPACE, rng) for _ in range(21)]
    made = [candidate(i, subnet, (*range(0, 40, 2), 100 + i)) for i, subnet in enumerate(subnets[:20])]
    raced = candidate(20, subnets[20], tuple(range(0, 40, 2)), hard)
    found = estimated_accuracy([*made, raced], IMAGES)
    assert raced.score.accuracy == 0.5
    assert found[20] == pytest.approx(found[:20].mean(), abs=0.01)
    assert found[20] < 1 - 20 / IMAGES
