"""Loads again what an existing run works with, from where its images are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from noah.errors import DatasetNotFoundError, UsageError
from noah.prepare.context import Materials, prepare
from noah.prepare.earlier import read_earlier, with_earlier
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.layers import Layer
from noah.settings.settings import Settings


def prepare_run(
    run: Run,
    listener: Listener,
    changes: Sequence[Layer] = (),
    *,
    data: Path | None = None,
    settings: Settings | None = None,
) -> Materials:
    """Load what the stages of a run work with; whether the images are the run's own is for `check_same_data` to say.

    Args:
        run: The run.
        listener: Receives every automatic choice.
        changes: Changes to its settings for this one command.
        data: Where its images are now, if they have moved.
        settings: Settings in place of the run's own with its changes.

    Raises:
        UsageError: If `data` is given and the run's images have a name instead of a place.
        NoahError: If anything is wrong with the settings, the images or the backbone.
    """
    settings = run.settings(changes) if settings is None else settings
    if data is not None:
        settings = _moved(run, settings, data)
        listener.say(f"data      {data}, instead of {run.settings().data.folder}")
    try:
        materials = prepare(settings, listener, run=run)
    except DatasetNotFoundError as error:
        if data is not None or settings.data.folder is None:
            raise
        raise DatasetNotFoundError(
            error.problem, f"If the images of {run.name} have moved, name their place: --data FOLDER"
        ) from error
    earlier = read_earlier(run)
    return materials if earlier is None else replace(materials, dataset=with_earlier(materials, earlier)[0])


def _moved(run: Run, settings: Settings, data: Path) -> Settings:
    if settings.data.folder is None:
        raise UsageError(
            f"The images of {run.name} are the dataset {settings.data.dataset}, which has no place that could move.",
            "Leave --data out.",
        )
    return settings.model_copy(update={"data": settings.data.model_copy(update={"folder": str(data)})})
