"""Turns a stage's report into the figures that are new to a tracker, for any tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noah.progress import SearchDetail, TrainingDetail

SEARCH = "search"
"""The stage that candidates belong to."""
RESULT = "result"
"""The prefix of final figures' names, in place of a stage."""


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one step.

    Attributes:
        stage: supernet, search, retrain, or a finalist of the search.
        step: The epoch of a training, or the number of candidates measured so far; from 1.
        values: Figures by name.
    """

    stage: str
    step: int
    values: Mapping[str, float]


def training_records(detail: TrainingDetail, told: int, epoch_seconds: float | None) -> list[Record]:
    """Make a record of the mean loss for each new epoch; the last one also has the learning rate and speed.

    Args:
        detail: The training's report.
        told: Number of epochs that are already logged.
        epoch_seconds: Time that the last epoch took; None if this process did not see it.
    """
    records = []
    for epoch in range(told + 1, len(detail.losses) + 1):
        values = {"loss": detail.losses[epoch - 1]}
        if epoch == len(detail.losses) and detail.learning_rate is not None:
            values["learning_rate"] = detail.learning_rate
        if epoch == len(detail.losses) and epoch_seconds:
            values["images_per_second"] = detail.images / epoch_seconds
        records.append(Record(detail.stage, epoch, values))
    return records


def search_records(detail: SearchDetail, told: Sequence[int]) -> tuple[list[Record], list[int]]:
    """Make a record for each new candidate: its accuracy, its parameters, and the best accuracy so far.

    Candidates are numbered in the order in which they are logged, since several are evaluated in turns.

    Args:
        detail: The search's report.
        told: Indices of the candidates that are already logged, in that order.

    Returns:
        The records, and the indices including the new ones.
    """
    measured = {candidate.index: candidate for candidate in detail.measured}
    best = max((measured[index].accuracy for index in told), default=0.0)
    records, order, known = [], list(told), set(told)
    for index, candidate in measured.items():
        if index in known:
            continue
        order.append(index)
        best = max(best, candidate.accuracy)
        values = {
            "accuracy": candidate.accuracy,
            "best_accuracy": best,
            "parameters": float(candidate.parameters),
            "candidate": float(index),
        }
        records.append(Record(SEARCH, len(order), values))
    return records, order
