"""Lists the trackers and opens them; a tracker's package is imported only when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from noah.errors import MissingPackageError
from noah.runs.folder import Run
from noah.settings.settings import Tracker as Name
from noah.trackers.tracker import Tracker


def check_usable(names: Sequence[Name]) -> None:
    """Refuse trackers that cannot be used here, before any work is done.

    Raises:
        MissingPackageError: If the package of one is not installed.
        UsageError: If the server of one refuses, or its key is missing.
    """
    _check_installed(names)
    if "wandb" in names:
        from noah.trackers.weights_and_biases import check_key

        check_key()


def _check_installed(names: Sequence[Name]) -> None:
    for name in names:
        if find_spec(name) is None:
            raise MissingPackageError(
                f"The tracker {name} needs the package {name}, which is not installed.",
                "Type: pip install 'noah-prompt-search[trackers]'. With --track none, nothing is tracked.",
            )


def open_tracker(name: Name, run: Run, identity: str, *, new: bool) -> Tracker:
    """Open the tracker of a run, either with its settings or to go on.

    Args:
        name: The tracker's name.
        run: The run; its folder holds what the tracker keeps on this machine.
        identity: The id under which the tracker knows the run.
        new: Whether the tracker has nothing under that id yet.

    Raises:
        MissingPackageError: If its package is not installed.
        UsageError: If its setup does not work.
    """
    _check_installed([name])
    if name == "tensorboard":
        from noah.trackers.tensorboard import TensorBoard

        return TensorBoard(run, new=new)
    from noah.trackers.weights_and_biases import WeightsAndBiases

    return WeightsAndBiases(run, identity, new=new)
