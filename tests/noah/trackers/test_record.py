"""Whatever a tracker knows already, it is told the rest and nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.progress import CandidateDetail, SearchDetail, TrainingDetail
from noah.trackers.record import Record, search_records, training_records

losses = st.lists(st.floats(0, 10), max_size=8)


def search(measured: list[CandidateDetail]) -> SearchDetail:
    return SearchDetail(
        generation=1,
        generations=1,
        accuracies=(),
        best=-1,
        uses=(),
        given_up=0,
        images_shown=0,
        images_of_all=0,
        measured=tuple(sorted(measured, key=lambda candidate: candidate.index)),
    )


def test_an_epoch_has_its_loss_and_the_last_its_learning_rate_and_speed() -> None:
    detail = TrainingDetail(80, (2.0, 1.0), "supernet", 1e-3)
    assert training_records(detail, 0, epoch_seconds=4.0) == [
        Record("supernet", 1, {"loss": 2.0}),
        Record("supernet", 2, {"loss": 1.0, "learning_rate": 1e-3, "images_per_second": 20.0}),
    ]


def test_epochs_that_nobody_saw_have_their_loss_alone() -> None:
    assert training_records(TrainingDetail(80, (2.0,), "retrain"), 0, None) == [Record("retrain", 1, {"loss": 2.0})]


@given(losses, st.integers(0, 8))
def test_what_is_told_of_a_training_is_told_once(values: list[float], told: int) -> None:
    told = min(told, len(values))
    before = training_records(TrainingDetail(8, tuple(values[:told])), 0, None)
    after = training_records(TrainingDetail(8, tuple(values)), told, None)
    assert [record.step for record in before + after] == list(range(1, len(values) + 1))
    assert [record.values["loss"] for record in before + after] == values


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), unique_by=lambda pair: pair[0]), st.integers(0, 20))
def test_what_is_told_of_a_search_is_told_once_in_the_order_in_which_it_came(
    found: list[tuple[int, float]], cut: int
) -> None:
    candidates = [CandidateDetail(index, accuracy, 100 + index) for index, accuracy in found]
    first, told = search_records(search(candidates[:cut]), [])
    second, known = search_records(search(candidates), told)
    records = first + second
    assert [record.step for record in records] == list(range(1, len(candidates) + 1))
    assert [int(record.values["candidate"]) for record in records] == known
    assert set(known[:cut]) == {candidate.index for candidate in candidates[:cut]}
    accuracies = [record.values["accuracy"] for record in records]
    assert sorted(accuracies) == sorted(accuracy for _, accuracy in found)
    for count, record in enumerate(records, start=1):
        assert record.values["best_accuracy"] == max(accuracies[:count])
        assert record.values["parameters"] == 100 + record.values["candidate"]


def test_a_search_that_has_just_begun_tells_nothing() -> None:
    assert search_records(search([]), []) == ([], [])
    assert search_records(search([CandidateDetail(3, 0.5, 7)]), [3]) == ([], [3])


def test_the_first_figures_of_a_search() -> None:
    records, told = search_records(search([CandidateDetail(4, 0.5, 70)]), [])
    assert told == [4]
    (record,) = records
    assert (record.stage, record.step) == ("search", 1)
    assert record.values == pytest.approx({"accuracy": 0.5, "best_accuracy": 0.5, "parameters": 70, "candidate": 4})
