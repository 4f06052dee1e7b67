"""The start of a run that goes on from an earlier one, with images that have grown (`noah.prepare.earlier`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noah.errors import UsageError
from noah.prepare.context import Materials
from noah.prepare.earlier import gather_earlier, weights_of
from noah.prepare.new_run import start_run
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from noah.settings.settings import Settings


def continued_settings(earlier: Run, changes: Sequence[Layer]) -> tuple[Settings, dict[str, str]]:
    """The settings of a run that goes on from another: the other's, with changes.

    Args:
        earlier: The other run.
        changes: Such as where the images are now.

    Returns:
        The settings, and the source of each.

    Raises:
        UsageError: If the earlier run's images have a name instead of a place, so that they cannot have grown, or the
            backbone would be another.
        SettingsError: If settings are wrong; names all mistakes at once.
    """
    own = earlier.settings()
    if own.data.folder is None:
        raise UsageError(
            f"The images of {earlier.name} are the dataset {own.data.dataset}, which does not grow.",
            "Go on from a run with --data.",
        )
    base = Layer(source=f"run {earlier.name}", values=own.model_dump(mode="json"))
    weights = Layer(source=f"from {earlier.name}", values={"retrain": {"inherit": False}})
    settings, origins = resolve([base, *changes, weights])
    if settings.backbone != own.backbone:
        raise UsageError(
            f"The backbone of {earlier.name} cannot change, as its weights belong to it.", "Leave --set backbone. out."
        )
    return settings, origins


def continue_run(
    root: Path,
    earlier: Run,
    settings: Settings,
    origins: dict[str, str],
    listener: Listener,
    *,
    name: str | None,
) -> tuple[Run, Materials]:
    """Make the folder of a run that goes on from another; its retraining starts from the other's weights.

    Args:
        root: The folder of all runs.
        earlier: The other run.
        settings: As `continued_settings` gave them.
        origins: The source of each.
        listener: Receives what becomes of images and classes.
        name: The run's id; None means the date and time.

    Raises:
        CommandOrderError: If the earlier run has not been retrained.
        NoahError: If anything is wrong with either run, the settings or the images.
    """
    known = gather_earlier(earlier, listener)
    listener.say(f"from      {earlier.name}: its subnet, and its weights to start from")
    subnet = str(earlier.path("retrain", "model.json"))
    return start_run(
        root,
        settings,
        origins,
        listener,
        name=name,
        subnet=subnet,
        earlier=known,
        weights=weights_of(earlier),
    )
