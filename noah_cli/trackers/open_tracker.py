"""Which trackers there are, and how one is opened; its package is imported only then."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from noah.errors import MissingPackageError
from noah.runs.folder import Run
from noah.settings.settings import Tracker as Name
from noah_cli.trackers.tracker import Tracker


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
