"""Means over seeds and groups agree with NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.benchmark.figures import Figure, difference_figure, figure, lead_figure, mean_figure
from tests.noah.benchmark.made import row

GROUPS = [["a", "b"], ["c"]]


@given(st.lists(st.lists(st.integers(0, 1000), min_size=3, max_size=3), min_size=1, max_size=5))
def test_means_and_deviations(correct: list[list[int]]) -> None:
    """`correct` holds a list of the tasks a, b and c for each seed."""
    rows = [
        row(task, "noah", seed, count)
        for seed, counts in enumerate(correct)
        for task, count in zip("abc", counts, strict=True)
    ]
    values = np.array(correct) / 1000
    by_hand = (values[:, :2].mean(axis=1) + values[:, 2]) / 2
    for found, expected in (
        (mean_figure(rows, "noah", GROUPS), by_hand),
        (mean_figure(rows, "noah", [["a", "b", "c"]]), values.mean(axis=1)),
        (mean_figure(rows, "noah", [["b"]]), values[:, 1]),
    ):
        assert found is not None
        assert found.mean == pytest.approx(expected.mean(), abs=1e-12)
        assert found.seeds == len(correct)
        if len(correct) == 1:
            assert found.deviation is None
        else:
            assert found.deviation == pytest.approx(expected.std(ddof=1), abs=1e-12)


def test_a_mean_waits_for_every_task() -> None:
    rows = [row("a", "noah", 0, 900), row("b", "noah", 0, 800), row("c", "noah", 0, 700), row("a", "noah", 1, 100)]
    assert mean_figure(rows, "noah", GROUPS) == Figure(pytest.approx(0.775), None, 1)
    assert mean_figure(rows, "linear", GROUPS) is None
    assert mean_figure(rows[:2], "noah", GROUPS) is None
    assert mean_figure(rows, "noah", [["a"]]) == Figure(0.5, pytest.approx(0.8 / 2**0.5), 2)


def test_the_difference_to_the_sources() -> None:
    counts = {"a": (900, 800), "b": (500, 700), "c": (950, 600)}
    rows = [row(task, "noah", seed, count) for task, of in counts.items() for seed, count in enumerate(of)]
    found = difference_figure(rows, "noah", {"b": "a", "c": "a"})
    values = np.array([(-0.4 + 0.05) / 2, (-0.1 - 0.2) / 2])
    assert found is not None and found.seeds == 2
    assert (found.mean, found.deviation) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    one = difference_figure(rows[:-1], "noah", {"b": "a", "c": "a"})  # seed 1 has no c
    assert one is not None and (one.mean, one.seeds) == (pytest.approx(values[0]), 1)
    assert difference_figure(rows, "noah", {"b": "d"}) is None


def test_a_lead_is_taken_seed_by_seed() -> None:
    counts = {("a", "noah"): (900, 800, 1000), ("a", "bias"): (850, 850), ("b", "noah"): (600, 700, 0)}
    counts[("b", "bias")] = (500, 650, 1000)
    rows = [row(task, name, seed, count) for (task, name), of in counts.items() for seed, count in enumerate(of)]
    leads = np.array([(0.05 + 0.1) / 2, (-0.05 + 0.05) / 2])  # nobody knows what bias has on a with seed 2
    found = lead_figure(rows, "noah", "bias", ["a", "b"])
    assert found is not None and found.seeds == 2
    assert (found.mean, found.deviation) == (pytest.approx(leads.mean()), pytest.approx(leads.std(ddof=1)))
    behind = lead_figure(rows, "bias", "noah", ["b"])
    assert behind is not None and (behind.mean, behind.seeds) == (pytest.approx((-0.1 - 0.05 + 1.0) / 3), 3)
    assert lead_figure(rows, "noah", "linear", ["a"]) is lead_figure(rows, "noah", "bias", ["c"]) is None


def test_in_percent() -> None:
    assert str(figure([0.5])) == "50.0"
    found = figure([0.5, 0.52])
    assert found is not None and (str(found), found.signed) == ("51.0±1.4", "+51.0±1.4")
    assert Figure(-0.021, None, 1).signed == "-2.1"
    assert figure([]) is None
