"""`noah.search`, `noah.retrain`, `noah.forecast` and `noah.open_run`: how a run from Python begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from noah.api.keywords import OWN, paths, run_layers, seconds
from noah.api.new_settings import resolve_new, settings_of_new
from noah.api.process_state import as_found
from noah.api.retraining import begin_given, run_retraining
from noah.api.run import Run
from noah.api.searching import begin_search, forecast_search, run_search
from noah.api.watching import Progress, listener_for
from noah.cluster.session import connect
from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS, LATEST
from noah.hardware.processes import launched_processes
from noah.prepare.forecast import Forecast
from noah.progress import Listener
from noah.runs.folder import open_run as open_folder
from noah.settings.layers import Layer
from noah.settings.option_layers import option_layers
from noah.settings.settings import Settings

PathLike = str | os.PathLike[str]


def search(
    *,
    data: PathLike | None = None,
    dataset: str | None = None,
    backbone: PathLike | None = None,
    recipe: str | None = None,
    budget: str | Sequence[str] | None = None,
    seed: int | None = None,
    time_limit: str | float | timedelta | None = None,
    settings: Mapping[str, Any] | None = None,
    config: PathLike | Sequence[PathLike] | None = None,
    run: str | None = None,
    runs: PathLike = DEFAULT_RUNS,
    progress: Progress = False,
    ray: str | None = None,
    workers: int = 1,
    **options: Any,
) -> Run:
    """Train a supernet on a dataset, and search for the best subnet within a budget.

        run = noah.search(data="photos/", budget="params=0.5M", time_limit="20m", progress=True)
        run.winner.subnet

    Does what `noah search` does with the same options: the same settings, defaults, files and results. As there,
    `noah.yaml` in the working folder is read if there is one.

    Args:
        data: Your images: a folder with one folder per class, a table, or whatever else `--data` takes.
        dataset: Name of a dataset, instead of `data`.
        backbone: A timm name, a weights file, or whatever else `--backbone` takes.
        recipe: Shipped settings by name; None chooses them by the data.
        budget: "params=0.5M", "macs=1.1x", "latency=12ms", several of these in a list, or "none".
        seed: Seed of all randomness.
        time_limit: Stop in time to have a winner after this long: "20m", seconds, or a timedelta.
        settings: Any settings, nested or by dotted key: {"search.population": 20}.
        config: YAML files of settings.
        run: Name of the new run; None takes the date and time.
        runs: Folder of all runs.
        progress: Who receives the progress, see `Run`.
        ray: Where Ray runs, which spreads the work: "local", "auto" or HEAD:PORT, as after `--ray`; None for no Ray.
        workers: Processes of this machine that evaluate the candidates.
        options: Any other option of `noah search` that is a setting, such as image_size=98, space="wide" or
            device="cpu"; also any other setting whose last word no other setting shares, such as population=20.

    Returns:
        The run, with its winner.

    Raises:
        UsageError: If an option is unknown or contradicts another, or there is no such dataset or backbone.
        SettingsError: If settings are wrong; names all mistakes at once.
        NoahError: If anything else is wrong; see `noah.errors`.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}, but must be at least 1.", "Leave it out for one process.")
    named = {"data": data, "dataset": dataset, "backbone": backbone, "budget": budget, "seed": seed} | options
    listener, limit = listener_for(progress), seconds(time_limit)
    chosen, origins = _resolved(listener, recipe, config, named, settings)
    if ray is not None and workers > 1:
        raise UsageError("workers starts processes of this machine, and ray places them itself.", "Leave out workers.")
    with as_found(), nullcontext() if ray is None else connect(ray, listener) as cluster:
        folder, materials, left = begin_search(listener, Path(runs), run, chosen, origins, limit)
        run_search(folder, materials, listener, left, cluster=cluster, workers=workers)
    return Run(folder, progress=progress)


def forecast(
    *,
    recipe: str | None = None,
    time_limit: str | float | timedelta | None = None,
    settings: Mapping[str, Any] | None = None,
    config: PathLike | Sequence[PathLike] | None = None,
    progress: Progress = False,
    **options: Any,
) -> Forecast:
    """Time a few steps and estimate how long a search and all after it would take; nothing is written.

    Args:
        recipe: As in `search`.
        time_limit: As in `search`.
        settings: As in `search`.
        config: As in `search`.
        progress: As in `search`.
        options: As in `search`, `data` and the like included.

    Raises:
        NoahError: As in `search`.
    """
    listener, limit = listener_for(progress), seconds(time_limit)
    chosen, origins = _resolved(listener, recipe, config, options, settings)
    with as_found():
        return forecast_search(listener, chosen, origins, limit)


def retrain(
    subnet: str | PathLike,
    *,
    run: str | None = None,
    name: str | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    config: PathLike | Sequence[PathLike] | None = None,
    runs: PathLike = DEFAULT_RUNS,
    progress: Progress = False,
    **options: Any,
) -> Run:
    """Train a given subnet in a new run, without a search, as `noah retrain --subnet` does.

    Args:
        subnet: "lora:8+adapter:4", "linear", "published:cifar", a JSON file, or "pareto:2" of a search with two
            objectives.
        run: The run to take data and settings from if no data is named; None takes the latest.
        name: Name of the new run; None takes the date and time.
        recipe: As in `search`.
        settings: As in `search`.
        config: As in `search`.
        runs: Folder of all runs.
        progress: As in `search`.
        options: As in `search`, `data` and the like included.

    Returns:
        The new run, retrained.

    Raises:
        NoahError: As in `search`, or if the subnet cannot be read or does not fit the backbone.
    """
    listener, folder = listener_for(progress), Path(runs)
    layers, own = _layers(options, settings)
    chosen, origins = launched_processes().of_first(
        lambda: settings_of_new(listener, folder, run, recipe, paths(config), layers, own)
    )
    with as_found():
        made, materials = begin_given(listener, folder, run, name, os.fspath(subnet), chosen, origins)
        run_retraining(made, materials, listener)
    return Run(made, progress=progress)


def open_run(run: PathLike = LATEST, *, runs: PathLike = DEFAULT_RUNS, progress: Progress = False) -> Run:
    """Open a run that exists.

    Args:
        run: DATASET/ID, an id, a path, "latest", or DATASET/latest for the latest run on a dataset.
        runs: Folder of all runs.
        progress: As in `search`.

    Raises:
        CommandOrderError: If there is no run yet.
        UsageError: If there is no run of that name, or there are several with that id.
    """
    return Run(open_folder(Path(runs), os.fspath(run)), progress=progress)


def _resolved(
    listener: Listener,
    recipe: str | None,
    config: PathLike | Sequence[PathLike] | None,
    options: Mapping[str, Any],
    settings: Mapping[str, Any] | None,
) -> tuple[Settings, dict[str, str]]:
    """The settings of a new run, and the source of each."""
    layers, own = _layers(options, settings)
    return launched_processes().of_first(lambda: resolve_new(listener, recipe, paths(config), layers, own))


def _layers(options: Mapping[str, Any], settings: Mapping[str, Any] | None) -> tuple[list[Layer], list[Layer]]:
    """The layers of what belongs to a run, and of what may differ between its stages."""
    of_run = {name: value for name, value in options.items() if name not in OWN}
    own = {name: value for name, value in options.items() if name in OWN}
    return run_layers(of_run, settings), option_layers(**own)
