"""What every tracker can do, and the settings that it may receive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from noah.runs.folder import Run
from noah.trackers.record import Record

FOLDER = "trackers"
"""Folder in the run folder for what trackers keep and for what each has received."""


class Tracker(Protocol):
    """Keeps the figures of one run, beginning with its settings."""

    place: str
    """Where to look at the figures: an address or a command."""

    def log(self, record: Record) -> None:
        """Keep the figures of one step."""
        ...

    def conclude(self, results: Mapping[str, float]) -> None:
        """Keep final figures, such as the accuracy on the test split."""
        ...

    def forget(self, stage: str) -> None:
        """Drop the records of a stage that starts again."""
        ...

    def close(self) -> None:
        """Write everything that is still buffered."""
        ...


def told_settings(run: Run) -> dict[str, Any]:
    """Give the settings of a run as others may see them: the storage's URL has no user and password."""
    from noah.nas.storage import without_password

    settings: dict[str, Any] = run.description()["settings"]
    search = settings["search"]
    if search["storage"] is not None:
        search = search | {"storage": without_password(search["storage"])}
    return settings | {"search": search}
