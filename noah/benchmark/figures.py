"""Means and standard deviations over seeds, of one task or of several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noah.benchmark.rows import Row


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over seeds.

    Attributes:
        mean: Between 0 and 1.
        deviation: Sample standard deviation over the seeds (with n - 1); None of a single one.
        seeds: How many there are.
    """

    mean: float
    deviation: float | None
    seeds: int

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f"±{100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{deviation}"


def figure(values: Sequence[float]) -> Figure | None:
    """The figure of one value for each seed; None of none."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values))


def accuracies(rows: Sequence[Row], method: str) -> dict[int, dict[str, float]]:
    """Seed -> task -> accuracy of one method."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.cell.method == method:
            found.setdefault(row.cell.seed, {})[row.cell.task] = row.accuracy
    return dict(sorted(found.items()))


def task_figure(rows: Sequence[Row], method: str, task: str) -> Figure | None:
    """Of one task, over the seeds that have it."""
    return figure([of_seed[task] for of_seed in accuracies(rows, method).values() if task in of_seed])


def mean_figure(rows: Sequence[Row], method: str, groups: Sequence[Sequence[str]]) -> Figure | None:
    """Of the mean of the groups' means, over the seeds that have every task of every group.

    Args:
        rows: Results.
        method: Of this method only.
        groups: The tasks of each group; one group with all tasks gives their plain mean.
    """
    whole = [
        of_seed for of_seed in accuracies(rows, method).values() if all(task in of_seed for g in groups for task in g)
    ]
    return figure([group_mean(of_seed, groups) for of_seed in whole])


def group_mean(of_task: Mapping[str, float], groups: Sequence[Sequence[str]]) -> float:
    """The mean of the groups' means of one value for each task."""
    return statistics.fmean(statistics.fmean(of_task[task] for task in group) for group in groups)
