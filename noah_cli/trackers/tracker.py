"""What every tracker can do, which there are, and how one is opened; its package is imported only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

from noah.errors import MissingPackageError
from noah.runs.folder import Run
from noah.settings.settings import Tracker as Name
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


def check_usable(names: Sequence[Name]) -> None:
    """Refuse trackers that cannot be used here, before any work is done.

    Raises:
        MissingPackageError: The package of one is not installed.
        UsageError: The server of one refuses, or there is no key for it.
    """
    _check_installed(names)
    if "wandb" in names:
        from noah_cli.trackers.weights_and_biases import check_key

        check_key()


def told_settings(run: Run) -> dict[str, Any]:
    """The settings of a run as others may see them: the URL of a storage without its user and password."""
    from noah.nas.storage import without_password

    settings: dict[str, Any] = run.description()["settings"]
    search = settings["search"]
    if search["storage"] is not None:
        search = search | {"storage": without_password(search["storage"])}
    return settings | {"search": search}


def _check_installed(names: Sequence[Name]) -> None:
    for name in names:
        if find_spec(name) is None:
            raise MissingPackageError(
                f"The tracker {name} needs the package {name}, which is not installed.",
                "Type: pip install 'noah-prompt-search[trackers]'. With --track none search and retrain go without.",
            )


def open_tracker(name: Name, run: Run, identity: str, *, new: bool) -> Tracker:
    """Open the tracker of a run, to begin with its settings or to go on.

    Args:
        name: Which.
        run: The run, whose folder holds what it keeps on this machine.
        identity: By which the tracker knows the run.
        new: Whether it keeps nothing under that identity yet.

    Raises:
        MissingPackageError: Its package is not installed.
        UsageError: It cannot be used as it is set up.
    """
    _check_installed([name])
    if name == "tensorboard":
        from noah_cli.trackers.tensorboard import TensorBoard

        return TensorBoard(run, new=new)
    from noah_cli.trackers.weights_and_biases import WeightsAndBiases

    return WeightsAndBiases(run, identity, new=new)
