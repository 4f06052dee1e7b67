"""A retraining: that of a run whose subnet is known, or of a subnet that is given in a new run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from noah.errors import RunError, UsageError
from noah.prepare.context import Materials, check_same_data
from noah.prepare.continued_run import continue_run
from noah.prepare.new_run import start_run
from noah.prepare.prepare_run import prepare_run
from noah.progress import Listener
from noah.runs.folder import Run, open_run
from noah.runs.run_subnet import FRONT, check_inherits, check_still_chosen, chosen_subnet
from noah.runs.seals import FOLDER, RETRAIN, break_seal, is_sealed, seal_retrained
from noah.settings.layers import Layer
from noah.settings.settings import Settings
from noah.settings.training_settings import RetrainSettings
from noah.stages.retrain_stage import retrain
from noah.trackers.listener import tracked
from noah.trackers.open_tracker import check_usable
from noah.training.checkpoint_file import CHECKPOINT_FILE


def open_retraining(
    current: Run,
    listener: Listener,
    own: Sequence[Layer] = (),
    *,
    resume: bool = False,
    restart: bool = False,
    inherit: bool = False,
    data: Path | None = None,
) -> Materials | None:
    """Load what the retraining of a run needs; None if it is retrained already.

    Args:
        current: A run whose subnet is known.
        listener: Receives the progress.
        own: Layers of the options for hardware and trackers, which may differ from before.
        resume: Go on with a retraining that was stopped.
        restart: Discard an earlier retraining.
        inherit: Start from the supernet's weights.
        data: Where the run's images are now, if they have moved.

    Raises:
        UsageError: If both `resume` and `restart` are given, a stopped retraining needs one of them, or `inherit`
            contradicts the stopped one.
        CommandOrderError: If the search has another winner since, and `restart` is not given.
        NoahError: If anything else is wrong with the run or its data.
    """
    if resume and restart:
        raise UsageError(
            "--resume goes on with a stopped training, but --restart discards it.", "Leave out one of them."
        )
    chosen_subnet(current)
    if not restart:
        check_still_chosen(current)
    if current.path("retrain", "model.json").is_file() and not restart:
        if not is_sealed(current, RETRAIN):  # it was stopped just before sealing, or an earlier version trained it
            seal_retrained(current)
        listener.say(f"retrain   The subnet of {current.name} is already retrained; --restart does it again.")
        return None
    if current.path("retrain", CHECKPOINT_FILE).exists() and not (resume or restart):
        raise UsageError(
            f"The retraining of {current.name} was stopped before its end.",
            "Add --resume to go on with it, or --restart to start again.",
        )
    settings = current.settings(own)
    if resume and current.path("retrain", "settings.json").is_file():
        started = _started_settings(current)
        if inherit and not started.inherit:
            raise UsageError("This retraining was started without --inherit.", "Leave it out, or add --restart.")
        settings = settings.model_copy(update={"retrain": started})
    elif inherit:
        settings = settings.model_copy(update={"retrain": settings.retrain.model_copy(update={"inherit": True})})
    check_inherits(current, settings.retrain)
    listener.say(f"run       {current.folder}")
    materials = prepare_run(current, listener, data=data, settings=settings)
    check_same_data(current, materials)
    return materials


def begin_given(
    listener: Listener,
    runs: Path,
    like: str | None,
    name: str | None,
    subnet: str,
    settings: Settings,
    origins: Mapping[str, str],
) -> tuple[Run, Materials]:
    """Make the folder of a new run for a subnet that is given.

    Args:
        listener: Receives the progress.
        runs: The folder of all runs.
        like: The run whose Pareto front a spelling such as pareto:2 refers to; None for the latest.
        name: The run's id; None for the date and time.
        subnet: As the user types it.
        settings: Resolved settings.
        origins: The source of each value, by dotted key.

    Raises:
        NoahError: If anything is wrong with the subnet, the settings, the data, the backbone or the trackers. No run is
            begun then.
    """
    check_usable(settings.trackers)
    searched = open_run(runs, like) if subnet.startswith(FRONT) else None
    current, materials = start_run(runs, settings, origins, listener, name=name, subnet=subnet, searched=searched)
    listener.say(f"run       {current.folder}")
    return current, materials


def begin_continued(
    listener: Listener, runs: Path, earlier: Run, name: str | None, settings: Settings, origins: Mapping[str, str]
) -> tuple[Run, Materials]:
    """Make the folder of a new run that goes on from another one, with images that have grown.

    Args:
        listener: Receives the progress.
        runs: The folder of all runs.
        earlier: The other run, which has been retrained.
        name: The run's id; None for the date and time.
        settings: As `noah.prepare.continued_run.continued_settings` gives them.
        origins: The source of each value, by dotted key.

    Raises:
        NoahError: If anything is wrong with either run, the settings, the data or the trackers. No run is begun then.
    """
    check_usable(settings.trackers)
    current, materials = continue_run(runs, earlier, settings, dict(origins), listener, name=name)
    listener.say(f"run       {current.folder}")
    return current, materials


def run_retraining(current: Run, materials: Materials, listener: Listener, *, restart: bool = False) -> dict[str, Any]:
    """Train the subnet of a run to the end.

    Args:
        current: The run, which this locks.
        materials: What it works with.
        listener: Receives the progress.
        restart: Discard an earlier training, and what was measured of it.

    Returns:
        The content of retrain/model.json.

    Raises:
        RunBusyError: If another process works on the run.
    """
    with current.lock(), tracked(current, materials.settings.trackers, listener) as told:
        if restart and current.writes:
            break_seal(current, RETRAIN)
            shutil.rmtree(current.path(FOLDER, "eval"), ignore_errors=True)
            current.path("retrain", "model.json").unlink(missing_ok=True)
            current.path("retrain", CHECKPOINT_FILE).unlink(missing_ok=True)
            shutil.rmtree(current.path("eval"), ignore_errors=True)  # it measured the weights that are discarded
        result = retrain(current, materials, told)
        told.conclude({"parameters": result["parameters"]})
    return result


def _started_settings(run: Run) -> RetrainSettings:
    """Read the settings with which a stopped retraining was started.

    Raises:
        RunError: If their file is damaged.
    """
    try:
        return RetrainSettings.model_validate(run.read_json("retrain", "settings.json"))
    except ValidationError as error:
        raise RunError(
            f"{run.path('retrain', 'settings.json')} is damaged: it holds no settings of a retraining.",
            f"Train again: noah retrain --restart --run {run.option}",
        ) from error
