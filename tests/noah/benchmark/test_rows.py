"""Rows come back as they were written, and what is no row is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.benchmark.cells import Cell
from noah.benchmark.rows import Row, failure_path, read_rows, row_path, write_failure, write_row
from noah.errors import RunError
from tests.noah.benchmark.made import row


@given(correct=st.integers(0, 500), more=st.integers(1, 500), seed=st.integers(0, 2**32 - 1))
def test_a_row_and_its_json(correct: int, more: int, seed: int) -> None:
    made = row("digits", "lora:8", seed, correct, correct + more)
    assert Row.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.accuracy == made.to_json()["accuracy"] == correct / (correct + more)


def test_rows_are_read_and_success_forgets_a_failure(tmp_path: Path) -> None:
    assert read_rows(tmp_path) == []
    rows = [row("digits", "linear", 0, 700), row("digits", "noah", 0, 990)]
    write_failure(tmp_path, rows[1].cell, "It did not work.")
    assert failure_path(tmp_path, rows[1].cell).read_text() == "It did not work.\n"
    for made in rows:
        write_row(tmp_path, made)
    assert read_rows(tmp_path) == rows
    assert not failure_path(tmp_path, rows[1].cell).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"correct": 1001},
        {"correct": -1},
        {"total": 0},
        {"seed": 1},  # the file's name says 0
        {"task": None},
        {"correct": "many"},
    ],
)
def test_a_damaged_row_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    write_row(tmp_path, row("digits", "linear", 0, 700))
    path = row_path(tmp_path, Cell("digits", "linear", 0))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RunError, match=r"is not a row of a sweep: .*\nRemove it"):
        read_rows(tmp_path)
    path.write_text("{")
    with pytest.raises(RunError, match="is not a row of a sweep"):
        read_rows(tmp_path)
