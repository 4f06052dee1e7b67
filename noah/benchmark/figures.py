"""Means and standard deviations over seeds, for one task or several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noah.benchmark.rows import Row


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over seeds.

    Attributes:
        mean: The mean over the seeds, 0..1.
        deviation: The sample standard deviation over the seeds (with n - 1); None for a single seed.
        seeds: The number of seeds.
    """

    mean: float
    deviation: float | None
    seeds: int

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f"±{100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{deviation}"


def figure(values: Sequence[float]) -> Figure | None:
    """Compute the figure from one value per seed; None if there are no values."""
    if not values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values))


def accuracies(rows: Sequence[Row], method: str) -> dict[int, dict[str, float]]:
    """Map each seed to the accuracy of one method on each task."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.cell.method == method:
            found.setdefault(row.cell.seed, {})[row.cell.task] = row.accuracy
    return dict(sorted(found.items()))


def task_figure(rows: Sequence[Row], method: str, task: str) -> Figure | None:
    """Compute the figure for one task, over the seeds that have a result for it."""
    return figure([of_seed[task] for of_seed in accuracies(rows, method).values() if task in of_seed])


def mean_figure(rows: Sequence[Row], method: str, groups: Sequence[Sequence[str]]) -> Figure | None:
    """Compute the figure for the mean of the groups' means, over the seeds that have results for every task.

    Args:
        rows: The results of any methods.
        method: The method whose results count.
        groups: The tasks of each group; a single group with all tasks gives their plain mean.
    """
    whole = [
        of_seed for of_seed in accuracies(rows, method).values() if all(task in of_seed for g in groups for task in g)
    ]
    return figure([group_mean(of_seed, groups) for of_seed in whole])


def group_mean(of_task: Mapping[str, float], groups: Sequence[Sequence[str]]) -> float:
    """The mean of the groups' means, given one value for each task."""
    return statistics.fmean(statistics.fmean(of_task[task] for task in group) for group in groups)
