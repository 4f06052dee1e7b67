"""Rows of sweeps that were never run."""

from __future__ import annotations

from noah.benchmark.cells import Cell
from noah.benchmark.rows import Row


def row(task: str, method: str, seed: int, correct: int, total: int = 1000, parameters: int = 5_000) -> Row:
    return Row(Cell(task, method, seed), correct, total, parameters, {"seconds": {"retrain": 2.5, "test": 0.5}})
