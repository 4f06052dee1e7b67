"""What a tracker is told: the figures of a detail that it was not told before. Nothing here knows of any tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noah.progress import SearchDetail, TrainingDetail

SEARCH = "search"
"""The stage of the candidates."""
RESULT = "result"
"""What stands before the names of final figures, as a stage does before its own."""


@dataclass(frozen=True, slots=True)
class Record:
    """Figures of one step.

    Attributes:
        stage: supernet, search, retrain, or a finalist of the search.
        step: From 1: the epoch of a training, or how many candidates were measured.
        values: Name -> figure.
    """

    stage: str
    step: int
    values: Mapping[str, float]


def training_records(detail: TrainingDetail, told: int, epoch_seconds: float | None) -> list[Record]:
    """A record for each finished epoch beyond the first `told`: mean loss; of the last, learning rate and speed too.

    Args:
        detail: What the training tells.
        told: Epochs that are told already.
        epoch_seconds: Time that the last epoch took; None where it was not this process that saw it.
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
    """A record for each candidate that is not told: its accuracy, its parameters, and the best accuracy up to it.

    Candidates are numbered in the order in which they are told, as several are looked at in turns.

    Args:
        detail: What the search tells.
        told: Indices of the candidates that are told already, in that order.

    Returns:
        The records, and the indices with the new ones.
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
