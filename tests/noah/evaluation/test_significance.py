"""Intervals and p-values against scipy and against their definitions."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from noah.evaluation.significance import Proportion, holm, mcnemar, wilson_interval

shares = st.integers(1, 100_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(share=shares, confidence=st.floats(0.5, 0.999))
def test_wilson_agrees_with_scipy(share: tuple[int, int], confidence: float) -> None:
    expected = binomtest(*share).proportion_ci(confidence, method="wilson")
    assert wilson_interval(*share, confidence) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


@given(shares)
def test_an_interval_holds_its_share_and_stays_within_0_and_1(share: tuple[int, int]) -> None:
    proportion = Proportion(*share)
    low, high = proportion.interval
    assert 0 <= low <= proportion.share <= high <= 1
    assert low < high


def test_wilson_by_hand() -> None:
    """8 of 10 with z = 1.959964: (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10)."""
    assert Proportion(8, 10).interval == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert Proportion(0, 5).interval[0] == 0.0
    assert Proportion(5, 5).interval[1] == 1.0


@pytest.mark.parametrize("share", [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_share_is_refused(share: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        Proportion(*share)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_agrees_with_the_binomial_test(only_first: int, only_second: int) -> None:
    n = only_first + only_second
    expected = binomtest(only_first, n).pvalue if n else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (3, 3, 1.0),
        (0, 6, 2 / 64),
        (1, 7, 2 * (1 + 8) / 256),
        (9, 2, 2 * (1 + 11 + 55) / 2048),
        (0, 2_000, 0.0),  # 2 ** -1999, smaller than any float
    ],
)
def test_mcnemar_by_hand(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == p


def test_mcnemar_of_very_many_images() -> None:
    assert mcnemar(10_000, 10_300) == pytest.approx(binomtest(10_000, 20_300).pvalue, rel=1e-6)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """A hypothesis falls where every group that it is in falls by Bonferroni, which is Holm's own derivation."""
    indices = range(len(p_values))
    groups = [group for size in indices for group in combinations(indices, size + 1)]
    expected = [
        max(min(1.0, len(group) * min(p_values[i] for i in group)) for group in groups if index in group)
        for index in indices
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
