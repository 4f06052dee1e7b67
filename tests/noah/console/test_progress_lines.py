"""What stands under a progress bar fits the terminal and says what the stage told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.console.progress_lines import BARS, draw_detail, sparkline
from noah.progress import SearchDetail, TrainingDetail

SEARCH = SearchDetail(
    generation=3,
    generations=5,
    accuracies=(0.5, 0.7, 0.7, 0.9),
    best=57,
    uses=(("160,000 parameters", 0.7036), ("12 ms an image", 1.0)),
    given_up=45,
    images_shown=3000,
    images_of_all=8000,
)


def test_a_training_tells_speed_and_loss() -> None:
    lines = draw_detail(TrainingDetail(800, (2.0, 1.0, 0.25)), done=2.5, seconds=10.0, columns=80)
    assert lines == ["speed     200 images a second", f"loss      0.250 {BARS[7]}{BARS[3]}{BARS[0]}"]


def test_a_training_that_has_just_begun_tells_nothing_that_it_does_not_know() -> None:
    assert draw_detail(TrainingDetail(800, ()), done=0.0, seconds=0.0, columns=80) == []


def test_a_search_tells_its_generation_its_best_its_budget_and_what_racing_saved() -> None:
    assert draw_detail(SEARCH, done=96, seconds=10, columns=80) == [
        "round     generation 2 of 4 after the first",
        "best      90.0%, subnet 57 ▁▄▄█",
        "budget    ███████░░░ 70% of 160,000 parameters",
        "budget    ██████████ 100% of 12 ms an image",
        "racing    62% of the images saved, 45 subnets given up early",
    ]


def test_generations_are_counted_as_in_the_settings() -> None:
    def first_line(generation: int, generations: int) -> str:
        return draw_detail(replace(SEARCH, generation=generation, generations=generations), 3, 1, 80)[0]

    assert first_line(1, 1) == "round     the only generation"
    assert first_line(1, 2) == "round     first generation; 1 more follows"
    assert first_line(1, 16) == "round     first generation; 15 more follow"
    assert first_line(2, 16) == "round     generation 1 of 15 after the first"


def test_one_subnet_is_no_plural() -> None:
    assert draw_detail(replace(SEARCH, given_up=1), 3, 1, 80)[-1].endswith(", 1 subnet given up early")


@pytest.mark.parametrize("columns", [20, 40, 80, 120])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    for detail in (SEARCH, TrainingDetail(10**9, tuple(range(500)))):
        assert all(len(line) <= columns for line in draw_detail(detail, 3, 0.001, columns))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300), st.integers(1, 120))
def test_a_sparkline_shows_lowest_highest_and_last(values: list[float], columns: int) -> None:
    line = sparkline(values, columns)
    assert len(line) == min(columns, len(values))
    assert set(line) <= set(BARS)
    if len(values) <= columns and max(values) > min(values):
        assert {line[values.index(max(values))], line[values.index(min(values))]} == {BARS[0], BARS[-1]}


def test_a_sparkline_of_nothing_is_empty_and_of_equals_is_flat() -> None:
    assert (sparkline([], 10), sparkline([3.0] * 4, 10)) == ("", BARS[0] * 4)
