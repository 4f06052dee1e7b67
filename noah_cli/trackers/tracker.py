"""What every tracker can do, and the settings that it may be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from noah.runs.folder import Run
from noah_cli.trackers.record import Record

FOLDER = "trackers"
"""Of the run folder: what trackers keep, and what each was told."""


class Tracker(Protocol):
    """Keeps the figures of one run, beginning with its settings."""

    place: str
    """Where a person finds them."""

    def log(self, record: Record) -> None:
        """Keep the figures of one step."""
        ...

    def conclude(self, results: Mapping[str, float]) -> None:
        """Keep final figures, such as the accuracy on the test split."""
        ...

    def forget(self, stage: str) -> None:
        """Drop the records of a stage that begins anew."""
        ...

    def close(self) -> None:
        """Write whatever is not written yet."""
        ...


def told_settings(run: Run) -> dict[str, Any]:
    """The settings of a run as others may see them: the URL of a storage without its user and password."""
    from noah.nas.storage import without_password

    settings: dict[str, Any] = run.description()["settings"]
    search = settings["search"]
    if search["storage"] is not None:
        search = search | {"storage": without_password(search["storage"])}
    return settings | {"search": search}
