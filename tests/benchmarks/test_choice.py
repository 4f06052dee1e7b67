"""The instrument that judges choices, on pools and scores whose answers are known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.choice import (
    break_ties,
    ceiling_of_test,
    ceiling_of_training,
    interval,
    judge,
    oracle_lead,
    oracle_table,
    percentile,
    pools_table,
    report,
    told_interval,
)
from benchmarks.evidence import Evidence, evidence_file
from benchmarks.pool import RANDOM, SINGLES, Entry, pool_file
from noah.files.jsonl import append_line
from noah.space.subnet import Subnet

SUBNET = Subnet([0, 0], [1, 1], [0, 0])
IMAGES = 200


def entry(name: str, correct: int, repeat: int = 0) -> Entry:
    """An entry with so many of 200 test images right, the first ones."""
    return Entry(name, repeat, SUBNET, 100, 10, "fp32", np.arange(IMAGES) < correct)


def pool(*correct: int) -> list[Entry]:
    return [entry(f"random {index}", count) for index, count in enumerate(correct)]


def scores(*values: float) -> dict[str, float]:
    return {f"random {index}": value for index, value in enumerate(values)}


def test_the_best_the_worst_and_the_middle_of_a_pool() -> None:
    made = pool(100, 120, 110, 130, 90)
    assert judge(scores(0, 0, 0, 1, 0), made).percentile == 100
    assert judge(scores(0, 0, 0, 0, 1), made).percentile == 0
    assert judge(scores(0, 0, 1, 0, 0), made).percentile == 50
    assert judge(scores(0, 0, 1, 0, 0), made).regret == pytest.approx(10)


@given(st.lists(st.integers(0, IMAGES), min_size=2, max_size=12))
def test_choosing_by_lot_is_at_50_whatever_the_pool_holds(correct: list[int]) -> None:
    made = pool(*correct)
    choices = [scores(*(float(index == chosen) for index in range(len(made)))) for chosen in range(len(made))]
    assert np.mean([judge(choice, made).percentile for choice in choices]) == pytest.approx(50)


@given(st.lists(st.integers(0, IMAGES), min_size=2, max_size=12, unique=True))
def test_scores_that_are_the_accuracies_reach_the_top_and_their_opposites_the_bottom(correct: list[int]) -> None:
    made = pool(*correct)
    right, wrong = judge(scores(*map(float, correct)), made), judge(scores(*(-float(c) for c in correct)), made)
    assert (right.percentile, right.regret, right.tau) == (100, 0, pytest.approx(1))
    assert (wrong.percentile, wrong.tau) == (0, pytest.approx(-1))


def test_single_modules_are_compared_with_and_never_chosen() -> None:
    made = [*pool(100, 120), entry("lora:8", 130), entry("linear", 40)]
    verdict = judge(scores(0, 1) | {"lora:8": 5}, made)
    assert verdict.percentile == 100
    assert verdict.over_single == {"lora:8": pytest.approx(-5), "linear": pytest.approx(40)}


def test_of_equal_scores_one_is_chosen_by_lot_and_a_missing_one_is_refused() -> None:
    tied = judge(scores(1, 1, 0), pool(10, 20, 30))
    assert (tied.percentile, tied.regret) == (25, pytest.approx(7.5))
    with pytest.raises(ValueError, match="no score for random 2"):
        judge(scores(1, 1), pool(10, 20, 30))
    with pytest.raises(ValueError, match="needs others"):
        percentile(1, [])


def test_ties_are_broken_and_nothing_else_is_changed() -> None:
    first, second = scores(0.5, 0.7, 0.7, 0.2), scores(9, -2, -1, 3)
    assert break_ties(first, second) == scores(1, 2, 3, 0)
    assert judge(break_ties(first, second), pool(10, 20, 30, 40)).regret == pytest.approx(5)


def test_no_interval_of_two_tasks() -> None:
    assert told_interval({"a": [40.0, 60.0], "b": [80.0]}, ".0f") == ("65", "")
    assert told_interval({"a": [1.0], "b": [1.0], "c": [1.0]}, "+.1f") == ("+1.0", "+1.0 to +1.0")
    assert told_interval({}, ".0f") == ("", "")


def test_the_ceiling_is_high_where_subnets_differ_and_chance_where_they_do_not() -> None:
    assert ceiling_of_test(pool(20, 60, 100, 140, 180)) == 100
    rng = np.random.default_rng(0)
    alike = [
        [Entry(f"random {i}", 0, SUBNET, 1, 1, "fp32", rng.random(IMAGES) < 0.7) for i in range(12)] for _ in range(60)
    ]
    assert np.mean([ceiling_of_test(one, rounds=10) for one in alike]) == pytest.approx(50, abs=5)


def test_the_ceiling_of_a_second_training_judges_by_the_first() -> None:
    made = [*pool(100, 120, 110), entry("random 0", 90, 1), entry("random 1", 150, 1)]
    assert ceiling_of_training(made) == 100
    assert ceiling_of_training(made[:4]) is None


def test_an_interval_holds_the_mean_and_is_a_point_where_all_are_equal() -> None:
    assert interval({"a": [60.0, 60.0], "b": [60.0]}) == (60, 60, 60)
    mean, low, high = interval({"a": [40.0, 60.0], "b": [80.0, 90.0]})
    assert mean == pytest.approx(67.5)
    assert low < mean < high


def test_the_report_has_a_row_for_each_method_and_each_kind_of_evidence(tmp_path: Path) -> None:
    made = pool(100, 120, 110)
    for name, value, others in (("random 0", 1.0, 0.5), ("random 1", 0.5, 0.4), ("random 2", 0.7, 0.3)):
        append_line(evidence_file(tmp_path, "digits", 0), asdict(Evidence(name, 2, 0.5, value, 1 - value)))
        if name != "random 2":  # not all have been trained for so long yet
            append_line(evidence_file(tmp_path, "digits", 0), asdict(Evidence(name, 15, 0.5, others)))
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "digits-seed0.jsonl").write_text("".join(json.dumps(one.to_json()) + "\n" for one in made))
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "a.json").write_text(
        json.dumps({"method": "backwards", "task": "digits", "seed": 0, "scores": scores(3, 1, 2)})
    )
    table = report(tmp_path, ["digits"], [0])
    assert "| own training, 2 epochs, cross-entropy | 1 | 100 |  | 0.0 | 1.00 |" in table
    # Of equal accuracies, cross-entropy decides, as in a search.
    assert "| own training, 2 epochs, accuracy | 1 | 100 |  | 0.0 | 1.00 |" in table
    assert "| own training, 2 epochs, calibrated cross-entropy | 1 | 0 |  | 10.0 | -1.00 |" in table
    assert "15 epochs" not in table
    assert "| backwards | 1 | 0 |  | 10.0 | -1.00 |" in table


def test_the_table_of_pools_ranks_the_plain_subnets_among_the_random_ones(tmp_path: Path) -> None:
    for task, lora in (("digits", 130), ("shapes_count", 90)):
        plain = [entry(name, lora if name == "lora:8" else 20) for name in SINGLES]
        for one in (*pool(*[100, 120] * (RANDOM // 2)), entry("random 0", 180, 1), *plain):
            append_line(pool_file(tmp_path, task, 0), one.to_json())
    for one in (*pool(100, 120), *(entry(name, 130) for name in SINGLES)):  # a subnet is still to be trained
        append_line(pool_file(tmp_path, "digits", 1), one.to_json())
    table = pools_table(tmp_path, ["digits", "shapes_count", "shapes_largest"], [0, 1]).splitlines()
    others = " | ".join(["10.0 (0)"] * (len(SINGLES) - 1))
    ends = "55.0 | 60.0 | 50.0 |"  # without the second training
    assert table[2:] == [
        f"| digits | 0 | 65.0 (100) | {others} | {ends}",
        f"| shapes_count | 0 | 45.0 (0) | {others} | {ends}",
        f"| mean | | 55.0 (50) | {others} | {ends}",
    ]


def test_an_oracle_gains_what_there_is_to_gain_and_nothing_by_seeing_noise() -> None:
    clear = [entry("lora:8", 100), *pool(60, 140)]
    assert oracle_lead(clear, 100, "lora:8") == pytest.approx(20, abs=1)  # it cannot miss the best
    rng = np.random.default_rng(0)
    alike = [Entry(name, 0, SUBNET, 1, 1, "fp32", rng.random(20_000) < 0.7) for name in ("lora:8", "random 0", "bias")]
    assert oracle_lead(alike, 100, "lora:8") == pytest.approx(0, abs=0.5)


def test_the_table_of_oracles_has_a_row_for_each_whole_pool(tmp_path: Path) -> None:
    right = {"lora:8": 500, "lora:6+bias": 700, "adapter:16": 450, "bias": 400, "prompt:33": 10, "linear": 10}
    right |= {f"random {index}": 100 for index in range(RANDOM)} | {"random 0": 900}
    whole = [Entry(name, 0, SUBNET, 1, 1, "fp32", np.arange(1000) < count) for name, count in right.items()]
    for one in whole:
        append_line(pool_file(tmp_path, "digits", 0), one.to_json())
    append_line(pool_file(tmp_path, "digits", 1), whole[0].to_json())
    *_, row, mean = oracle_table(tmp_path, ["digits"], [0, 1]).splitlines()
    assert row.startswith("| digits | 0 | +40.0 |") and mean.startswith("| mean | | +40.0 |")
    assert row.endswith(" | +20.0 | +20.0 | +20.0 |")  # lora:6+bias, without the random subnet
