"""A tracker of a run together with what it was told, so that a run that goes on continues the same log."""

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
from noah_cli.trackers.open_tracker import open_tracker
from noah_cli.trackers.record import RESULT, SEARCH, search_records, training_records
from noah_cli.trackers.tracker import FOLDER, Tracker

Count = Annotated[int, Field(ge=0)]

_RETRAIN = "retrain"
_OF_SEARCH = ("parameters", "validation_accuracy", "validation_cross_entropy")
"""Results that stay when the winner is trained anew."""


class Told(TypedDict):
    """trackers/<name>.json.

    `epochs` are those told of each training, `candidates` the indices told of the search, in their order.
    """

    identity: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    epochs: dict[str, Count]
    candidates: list[Count]
    results: dict[str, float]


class Log:
    """Tells a tracker what it does not know yet, and keeps what it was told.

    It is told first and that is kept after it, so that a process that dies in between has told a step twice.

    Args:
        run: The run; only the process that writes its folder may open its logs.
        name: Of the tracker.

    Raises:
        MissingPackageError: Its package is not installed.
        RunError: The file of what it was told is damaged.
        UsageError: It cannot be used as it is set up.
    """

    def __init__(self, run: Run, name: Name) -> None:
        self._run, self.name = run, name
        known = run.path(*place_of(name)).is_file()
        self._told = read_told(run, name) if known else _nothing_told()
        self.tracker: Tracker = open_tracker(name, run, self._told["identity"], new=not known)
        self._keep()

    def take(self, detail: Detail, epoch_seconds: float | None) -> None:
        """Tell what a stage tells, as far as it is new; a stage that begins anew is forgotten first."""
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
        """Tell final figures; where one has changed all are told anew, and where none is new nothing is."""
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
        """Write whatever is not written yet."""
        self.tracker.close()

    def _forget(self, stage: str) -> None:
        self.tracker.forget(stage)
        if stage == SEARCH:
            self._told["candidates"] = []
        else:
            del self._told["epochs"][stage]
        if stage == _RETRAIN:  # what was measured was of the weights that are thrown away
            self._keep_results({name: value for name, value in self._told["results"].items() if name in _OF_SEARCH})

    def _keep_results(self, results: dict[str, float]) -> None:
        if results != self._told["results"]:
            self.tracker.forget(RESULT)
            self.tracker.conclude(results)
            self._told["results"] = results

    def _keep(self) -> None:
        self._run.write_json(self._told, *place_of(self.name))


def place_of(name: Name) -> tuple[str, str]:
    """The file of what a tracker was told, below the run folder."""
    return FOLDER, f"{name}.json"


def read_told(run: Run, name: Name) -> Told:
    """What a tracker was told.

    Raises:
        RunError: If the file is damaged.
    """
    path = run.path(*place_of(name))
    told: Told = check_shape(run.read_json(*place_of(name)), Told, path, f"Remove {path} to begin a new log.")
    return told


def _nothing_told() -> Told:
    return Told(identity=secrets.token_hex(4), epochs={}, candidates=[], results={})
