"""A run's tracker together with a record of what it has received, so that a resumed run continues the same log."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from noah.progress import Detail, TrainingDetail
from noah.runs.file_shapes import check_shape
from noah.runs.folder import Run
from noah.settings.settings import Tracker as Name
from noah.trackers.open_tracker import open_tracker
from noah.trackers.record import RESULT, SEARCH, search_records, training_records
from noah.trackers.tracker import FOLDER, Tracker

Count = Annotated[int, Field(ge=0)]

_RETRAIN = "retrain"
_OF_SEARCH = ("parameters", "validation_accuracy", "validation_cross_entropy")
"""Results that stay when the winner is trained again."""


class Told(TypedDict):
    """The content of trackers/<name>.json: what a tracker has received.

    `epochs` has the number of epochs of each training, `candidates` the indices of the search in the order of logging.
    """

    identity: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    epochs: dict[str, Count]
    candidates: list[Count]
    results: dict[str, float]


class Log:
    """Gives a tracker only what it does not have yet, and records what it has received.

    The record is written after the tracker has received a step, so a process that dies in between leads to a step that
    is logged twice rather than lost.

    Args:
        run: The run; only the process that writes its folder may open its logs.
        name: The tracker's name.

    Raises:
        MissingPackageError: If its package is not installed.
        RunError: If the record of what it has received is damaged.
        UsageError: If its setup does not work.
    """

    def __init__(self, run: Run, name: Name) -> None:
        self._run, self.name = run, name
        known = run.path(*place_of(name)).is_file()
        self._told = read_told(run, name) if known else _nothing_told()
        self.tracker: Tracker = open_tracker(name, run, self._told["identity"], new=not known)
        self._keep()

    def take(self, detail: Detail, epoch_seconds: float | None) -> None:
        """Log what is new in a stage's report; if the stage has started again, its old records are dropped first."""
        if isinstance(detail, TrainingDetail):
            if len(detail.losses) < self._told["epochs"].get(detail.stage, 0):
                self._forget(detail.stage)
            told = self._told["epochs"].get(detail.stage, 0)
            records = training_records(detail, told, epoch_seconds)
            self._told["epochs"][detail.stage] = len(detail.losses)
        else:
            if not {candidate.index for candidate in detail.measured}.issuperset(self._told["candidates"]):
                self._forget(SEARCH)
            records, self._told["candidates"] = search_records(detail, self._told["candidates"])
        for record in records:
            self.tracker.log(record)
        if records:
            self._keep()

    def conclude(self, results: Mapping[str, float]) -> None:
        """Log final figures: all of them again if any has changed, and nothing if none is new."""
        told = self._told["results"]
        new = {name: value for name, value in results.items() if told.get(name) != value}
        if not new:
            return
        if new.keys() & told.keys():
            self.tracker.forget(RESULT)
            new = told | new
        self.tracker.conclude(new)
        self._told["results"] = told | new
        self._keep()

    def close(self) -> None:
        """Write everything that is still buffered."""
        self.tracker.close()

    def _forget(self, stage: str) -> None:
        self.tracker.forget(stage)
        if stage == SEARCH:
            self._told["candidates"] = []
        else:
            del self._told["epochs"][stage]
        if stage == _RETRAIN:  # the results are those of the discarded weights
            self._keep_results({name: value for name, value in self._told["results"].items() if name in _OF_SEARCH})

    def _keep_results(self, results: dict[str, float]) -> None:
        if results != self._told["results"]:
            self.tracker.forget(RESULT)
            self.tracker.conclude(results)
            self._told["results"] = results

    def _keep(self) -> None:
        self._run.write_json(self._told, *place_of(self.name))


def place_of(name: Name) -> tuple[str, str]:
    """Give the file that records what a tracker has received, relative to the run folder."""
    return FOLDER, f"{name}.json"


def read_told(run: Run, name: Name) -> Told:
    """Read what a tracker has received.

    Raises:
        RunError: If the file is damaged.
    """
    path = run.path(*place_of(name))
    told: Told = check_shape(run.read_json(*place_of(name)), Told, path, f"Remove {path} to start a new log.")
    return told


def _nothing_told() -> Told:
    return Told(identity=secrets.token_hex(4), epochs={}, candidates=[], results={})
