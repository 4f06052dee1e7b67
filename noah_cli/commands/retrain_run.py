"""Chooses the run that `noah retrain` works on: an existing one, or a new one for a given subnet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from noah.errors import RunError, UsageError
from noah.files.latest import read_latest
from noah.prepare.context import Materials, check_same_data, prepare
from noah.progress import Listener
from noah.runs.folder import Run, open_run
from noah.runs.run_subnet import check_inherits, chosen_subnet
from noah.runs.seals import RETRAIN, is_sealed, seal_retrained
from noah.settings.layers import Layer, file_layer, resolve
from noah.settings.settings import Settings
from noah.settings.training_settings import RetrainSettings
from noah.training.checkpoint import CHECKPOINT_FILE
from noah_cli.options.new_run import names_data, resolve_new


def open_existing(
    listener: Listener,
    runs: Path,
    name: str | None,
    hardware: Sequence[Layer],
    *,
    resume: bool,
    restart: bool,
    inherit: bool,
) -> tuple[Run, Materials] | None:
    """Open a run whose subnet is known and load what its retraining needs; None if there is nothing left to do.

    Raises:
        UsageError: If a stopped retraining needs `resume` or `restart`, or `inherit` contradicts the stopped one.
        NoahError: If anything else is wrong with the run or its data.
    """
    current = open_run(runs, name)
    chosen_subnet(current)
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
    settings = current.settings(hardware)
    if resume and current.path("retrain", "settings.json").is_file():
        started = _started_settings(current)
        if inherit and not started.inherit:
            raise UsageError("This retraining was started without --inherit.", "Leave it out, or add --restart.")
        settings = settings.model_copy(update={"retrain": started})
    elif inherit:
        settings = settings.model_copy(update={"retrain": settings.retrain.model_copy(update={"inherit": True})})
    check_inherits(current, settings.retrain)
    listener.say(f"run       {current.folder}")
    materials = prepare(settings, listener, run=current)
    check_same_data(current, materials)
    return current, materials


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


def settings_of_new(
    listener: Listener,
    runs: Path,
    like: str | None,
    recipe: str | None,
    config: Sequence[Path],
    options: Sequence[Layer],
    hardware: Sequence[Layer],
) -> tuple[Settings, dict[str, str]]:
    """Resolve the settings of a new run: like a search's if a dataset is named, else those of another run with changes.

    Args:
        listener: Prints where they come from.
        runs: The folder of all runs.
        like: The run to take data and settings from if no dataset is named; None for the latest.
        recipe: The recipe that was named.
        config: Settings files that were named.
        options: Layers of the other options.
        hardware: Layers of --device, --precision and --threads.

    Raises:
        UsageError: If the options contradict one another, or there is no such run.
        SettingsError: If settings are wrong; names all mistakes at once.
    """
    files = [file_layer(path) for path in config]
    names_its_data = names_data([*files, *options])
    if like is not None and names_its_data:
        raise UsageError(
            "Both --run and a dataset are given, but the new run takes its data from only one.",
            "Leave one of them out; --name names the new run.",
        )
    if names_its_data or (like is None and read_latest(runs) is None):
        return resolve_new(listener, recipe, config, options, hardware)
    if recipe:
        raise UsageError(
            "--recipe needs a dataset: otherwise all settings come from another run.",
            "Add --dataset NAME or --data FOLDER, or leave --recipe out.",
        )
    other = open_run(runs, like)
    listener.say(f"settings  those of {other.name}{'' if like else ', the latest run'}")
    base = Layer(source=f"run {other.name}", values=other.settings().model_dump(mode="json"))
    return resolve([base, *files, *options, *hardware])


def refuse_new_run_options(options: Sequence[Layer], **others: object) -> None:
    """Refuse options that only apply to a new run if no subnet is given.

    Args:
        options: Layers of the options that were given.
        others: Further options by name; those that are not empty were given.

    Raises:
        UsageError: If there are any; names all of them.
    """
    given = [layer.source for layer in options] + [f"--{name}" for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"{' and '.join(given)} cannot change a run that was searched already.",
            "Leave it out, or add --subnet to train a subnet in a new run.",
        )
