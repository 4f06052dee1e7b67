"""How often each candidate wins among resampled images, against a bootstrap written out image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.nas.certainty import Certainty, certainty, describe_certainty

IMAGES = 40
wrong_sets = st.lists(st.sets(st.integers(0, IMAGES - 1)).map(sorted), min_size=1, max_size=6)
seeds = st.integers(0, 2**32 - 1)


@given(wrong_sets, seeds)
def test_all_wins_sum_to_one(wrong: list[list[int]], seed: int) -> None:
    sure = certainty(wrong, IMAGES, seed, resamples=50)
    assert len(sure.wins) == len(wrong)
    assert all(0 <= share <= 1 for share in sure.wins)
    assert sum(sure.wins) == pytest.approx(1)


@given(st.sets(st.integers(0, IMAGES - 1)).map(sorted), st.integers(1, 8), seeds)
def test_equal_candidates_share_every_win(wrong: list[int], count: int, seed: int) -> None:
    sure = certainty([wrong] * count, IMAGES, seed, resamples=50)
    assert sure.wins == pytest.approx([1 / count] * count)
    assert (sure.lead, sure.lead_error) == ((0, 0) if count > 1 else (None, None))


@given(st.lists(st.sets(st.integers(0, 39), min_size=30).map(sorted), min_size=1, max_size=4), seeds)
def test_a_clearly_better_candidate_wins_always(others: list[list[int]], seed: int) -> None:
    """It is never wrong, so it would have to share a resample in which another is never wrong either."""
    assert certainty([[], *others], IMAGES, seed, resamples=50).wins[0] == 1


@given(wrong_sets, seeds)
def test_the_order_of_candidates_does_not_matter(wrong: list[list[int]], seed: int) -> None:
    backwards = certainty(wrong[::-1], IMAGES, seed, resamples=2000)
    assert certainty(wrong, IMAGES, seed, resamples=2000).wins == pytest.approx(backwards.wins[::-1], abs=0.08)


def test_the_same_seed_gives_the_same_and_another_seed_another() -> None:
    wrong = [[0, 1, 2], [3, 4, 5], [0, 4]]
    assert certainty(wrong, IMAGES, 7) == certainty(wrong, IMAGES, 7)
    assert certainty(wrong, IMAGES, 7).wins != certainty(wrong, IMAGES, 8).wins


@pytest.fixture(scope="module")
def wrong() -> list[list[int]]:
    """Three candidates with about 20, 23 and 30 mistakes on 100 images, many of them the same ones."""
    rng = np.random.default_rng(3)
    hardness = rng.random(100)
    return [np.flatnonzero(hardness + 0.3 * rng.random(100) > bar).tolist() for bar in (0.95, 0.93, 0.85)]


def test_wins_and_lead_are_those_of_a_bootstrap_image_by_image(wrong: list[list[int]]) -> None:
    mistakes = np.zeros((3, 100))
    for candidate, indices in enumerate(wrong):
        mistakes[candidate, indices] = 1
    rng = np.random.default_rng(0)
    wins, leads = np.zeros(3), []
    for _ in range(20_000):
        counts = mistakes[:, rng.integers(100, size=100)].sum(axis=1)
        best = counts == counts.min()
        wins += best / best.sum()
        leads.append((counts[1] - counts[0]) / 100)
    sure = certainty(wrong, 100, seed=0, resamples=20_000)
    assert sure.wins == pytest.approx(wins / 20_000, abs=0.015)
    assert sure.lead == pytest.approx((len(wrong[1]) - len(wrong[0])) / 100)
    assert sure.lead == pytest.approx(np.mean(leads), abs=1e-3)
    assert sure.lead_error == pytest.approx(np.std(leads), rel=0.03)


def test_a_lead_on_images_that_differ_little_is_surer() -> None:
    """30 mistakes against 35: with the 30 among the 35 it is surer than with other images wrong altogether."""
    nested = certainty([range(30), range(35)], 200, seed=0)
    disjoint = certainty([range(30), range(100, 135)], 200, seed=0)
    assert nested.lead == disjoint.lead == pytest.approx(0.025)
    assert nested.lead_error == pytest.approx(np.sqrt(0.025 * 0.975 / 200))
    assert disjoint.lead_error == pytest.approx(np.sqrt((65 / 200 - 0.025**2) / 200))
    assert nested.wins[0] > 0.97 > 0.8 > disjoint.wins[0]


def test_many_candidates_on_many_images_are_not_too_many() -> None:
    rng = np.random.default_rng(0)
    wrong = [np.flatnonzero(rng.random(5000) < 0.2).tolist() for _ in range(60)]
    assert sum(certainty(wrong, 5000, seed=0, resamples=150).wins) == pytest.approx(1)


@pytest.mark.parametrize(("wrong", "images"), [([], 10), ([[]], 0)])
def test_nothing_to_compare_is_refused(wrong: list[list[int]], images: int) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        certainty(wrong, images, 0)


def test_it_is_read_as_it_was_written(wrong: list[list[int]]) -> None:
    for sure in (certainty(wrong, 100, 0), certainty(wrong[:1], 100, 0)):
        assert Certainty.from_json(sure.to_json()) == sure


def sure_of(*wins: float, lead: float | None = 0.0123, error: float | None = 0.0089) -> Certainty:
    return Certainty(wins, 400, 2000, lead, error)


@pytest.mark.parametrize(
    ("sure", "indices", "text"),
    [
        (
            sure_of(0.31, 0.17, 0.22, 0.3),
            (7, 40, 12, 9),
            "The winner wins in 31% of 2,000 resamples of the validation images; subnets 9, 12 and 40 in 30%, 22% and "
            "17%. It leads subnet 40 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.31, 0.17, 0.22, 0.2, 0.06, 0.04),
            (7, 40, 12, 9, 3, 4),
            "The winner wins in 31% of 2,000 resamples of the validation images; subnets 12, 9 and 40 in 22%, 20% and "
            "17%, 2 others together in 10%. It leads subnet 40 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.31, 0.17, 0.22, 0.2, 0.1),
            (7, 40, 12, 9, 3),
            "The winner wins in 31% of 2,000 resamples of the validation images; subnets 12, 9 and 40 in 22%, 20% and "
            "17%, one other in 10%. It leads subnet 40 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.997, 0.002, 0.001),
            (7, 40, 12),
            "The winner wins in 100% of 2,000 resamples of the validation images. It leads subnet 40 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.99, *[0.001] * 10),
            (7, *range(10, 20)),
            "The winner wins in 99% of 2,000 resamples of the validation images; 10 others together in 1%. It leads "
            "subnet 10 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.8, 0.2),
            (7, 40),
            "The winner wins in 80% of 2,000 resamples of the validation images; subnet 40 in 20%. It leads subnet 40 "
            "by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.2, 0.8, lead=-0.0123),
            (7, 40),
            "The winner wins in 20% of 2,000 resamples of the validation images; subnet 40 in 80%. It lies behind "
            "subnet 40 by 1.2% ± 0.9%.",
        ),
        (
            sure_of(0.1, 0.2, lead=0.0, error=0.01),
            (7, 40),
            "The winner wins in 10% of 2,000 resamples of the validation images; subnet 40 in 20%. It is right on as "
            "many of these images as subnet 40.",
        ),
        (
            sure_of(1.0, lead=None, error=None),
            (7,),
            "The winner wins in 100% of 2,000 resamples of the validation images.",
        ),
    ],
)
def test_the_sentence(sure: Certainty, indices: tuple[int, ...], text: str) -> None:
    assert describe_certainty(sure, indices) == text
