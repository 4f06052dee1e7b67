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
        mean: The mean over the seeds, 0..1; of differences, -1..1.
        deviation: The sample standard deviation over the seeds (with n - 1); None for a single seed.
        seeds: The number of seeds.
    """

    mean: float
    deviation: float | None
    seeds: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f}{self._deviation}"

    @property
    def signed(self) -> str:
        """A difference in points of percentage, with its sign."""
        return f"{100 * self.mean:+.1f}{self._deviation}"

    @property
    def _deviation(self) -> str:
        return "" if self.deviation is None else f"±{100 * self.deviation:.1f}"


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


def difference_figure(rows: Sequence[Row], method: str, sources: Mapping[str, str]) -> Figure | None:
    """Compute the figure for how much more accurate a method is on tasks than on their sources, below 0 if it is less.

    Args:
        rows: The results of any methods.
        method: The method whose results count.
        sources: Task -> its source; the figure is that of the mean over the tasks, for seeds with results for all.
    """
    return figure(
        [
            statistics.fmean(of_seed[task] - of_seed[source] for task, source in sources.items())
            for of_seed in accuracies(rows, method).values()
            if all(name in of_seed for pair in sources.items() for name in pair)
        ]
    )


def lead_figure(rows: Sequence[Row], method: str, other: str, tasks: Sequence[str]) -> Figure | None:
    """Compute the figure for how far a method is ahead of another one, below 0 if it is behind.

    Args:
        rows: The results of any methods.
        method: The method whose lead it is.
        other: The method that it is compared with.
        tasks: The figure is that of the mean over these tasks, for seeds for which both have results for all.
    """
    own, others = accuracies(rows, method), accuracies(rows, other)
    return figure(
        [
            statistics.fmean(own[seed][task] - others[seed][task] for task in tasks)
            for seed in own.keys() & others.keys()
            if all(task in own[seed] and task in others[seed] for task in tasks)
        ]
    )


def group_mean(of_task: Mapping[str, float], groups: Sequence[Sequence[str]]) -> float:
    """The mean of the groups' means, given one value for each task."""
    return statistics.fmean(statistics.fmean(of_task[task] for task in group) for group in groups)
