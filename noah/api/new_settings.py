"""Resolves the settings of a new run from options and the settings file in the working folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from noah.data.sources.few_shot_sets import find_few_shot_set
from noah.data.sources.vtab.vtab_tasks import find_vtab_task
from noah.errors import UsageError
from noah.files.latest import read_latest
from noah.progress import Listener
from noah.settings.layers import PROJECT_FILE, Layer, file_layer, flatten, recipe_layer, resolve
from noah.settings.settings import Settings


def resolve_new(
    listener: Listener, recipe: str | None, config: Sequence[Path], options: Sequence[Layer], hardware: Sequence[Layer]
) -> tuple[Settings, dict[str, str]]:
    """Put recipe, settings files and options over the defaults, and say where they come from.

    Args:
        listener: Prints the recipe, and that there is a settings file in the working folder.
        recipe: The recipe that was named; None chooses one by the dataset.
        config: Settings files that were named.
        options: Layers of the other options.
        hardware: Layers of --device, --precision and --threads.

    Returns:
        The settings, and for each dotted key the source of its value.

    Raises:
        SettingsError: If settings are wrong; names all mistakes at once.
        UsageError: If a recipe or file does not exist, two datasets are named, or a recipe is named beside the run.yaml
            of a run.
    """
    named = [file_layer(path) for path in config]
    if any(layer.complete for layer in named):
        return _repeat(listener, recipe, named, [*options, *hardware])
    files = [*project_layers(listener), *named]
    chosen, reason = (recipe, "") if recipe else default_recipe([*files, *options])
    listener.say(f"recipe    {chosen}{f' ({reason})' if reason else ''}")
    settings, origins = resolve([recipe_layer(chosen), *files, *options, *hardware])
    _refuse_two_datasets(settings, origins)
    return settings, origins


def _repeat(
    listener: Listener, recipe: str | None, named: Sequence[Layer], options: Sequence[Layer]
) -> tuple[Settings, dict[str, str]]:
    """Take all settings from the run.yaml of a run, changed only by what was typed."""
    whole = next(layer for layer in named if layer.complete)
    if recipe:
        raise UsageError(
            f"--recipe {recipe}: {whole.source} already has every setting.", "Leave out --recipe or that file."
        )
    listener.say(f"settings  all from {whole.source}; recipes and the settings file of this folder are ignored")
    settings, origins = resolve([*named, *options])
    _refuse_two_datasets(settings, origins)
    return settings, origins


def _refuse_two_datasets(settings: Settings, origins: Mapping[str, str]) -> None:
    if not (settings.data.dataset and settings.data.folder):
        return
    sources = {key: origins[key] for key in ("data.dataset", "data.folder")}
    from_files = [key for key, source in sources.items() if not source.startswith("--")]
    if not from_files:
        raise UsageError("Both --dataset and --data are given.", "Choose one of them.")
    told = " and ".join(f"{key} ({source})" for key, source in sources.items())
    raise UsageError(
        f"Two datasets are given: {told}.",
        f"To leave out what {sources[from_files[0]]} gives, add: --set {from_files[0]}=null",
    )


def project_layers(listener: Listener) -> list[Layer]:
    """Read the settings file in the working folder, if there is one, and say so."""
    if not PROJECT_FILE.is_file():
        return []
    listener.say(f"settings  {PROJECT_FILE} (found in this folder)")
    return [file_layer(PROJECT_FILE)]


def names_data(layers: Sequence[Layer]) -> bool:
    """Whether any of the layers names a dataset or a folder of images."""
    keys = ("data.dataset", "data.folder")
    return any(key in keys and value is not None for layer in layers for key, value in flatten(layer.values))


def default_recipe(layers: Sequence[Layer]) -> tuple[str, str]:
    """Choose a recipe and say why: the paper's for the paper's datasets, a short one for anything else."""
    data = {key: value for layer in layers for key, value in flatten(layer.values)}
    name = str(data.get("data.dataset") or "")
    few_shot = find_few_shot_set(name)
    if few_shot and data.get("data.shots") is not None:
        recipe = "imagenet" if few_shot.name == "imagenet" else "few_shot"
        return recipe, f"{name} with shots is a few-shot set: the paper's settings; --recipe quick is shorter"
    if find_vtab_task(name):
        return "vtab", f"{name} is a VTAB dataset: the paper's settings; --recipe quick is shorter"
    return "auto", "planned from your images, your backbone and your machine; --recipe names another"


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
    from noah.runs.folder import open_run  # imports torch, which takes seconds

    other = open_run(runs, like)
    listener.say(f"settings  those of {other.name}{'' if like else ', the latest run'}")
    base = Layer(source=f"run {other.name}", values=other.settings().model_dump(mode="json"))
    return resolve([base, *files, *options, *hardware])
