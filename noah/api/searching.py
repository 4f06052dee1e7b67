"""A search from its settings to its winner: a new one, one that was stopped, one that other processes share."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noah.api.new_settings import project_layers
from noah.cluster.session import Cluster
from noah.errors import RunBusyError, SettingsError, UsageError
from noah.prepare.auto import adapt
from noah.prepare.context import Materials, check_same_data, look_at_images, prepare
from noah.prepare.forecast import Forecast, forecast
from noah.prepare.new_run import start_run
from noah.prepare.run_budget import decide_budget, run_budget
from noah.progress import Listener
from noah.runs.folder import Run
from noah.runs.run_subnet import given_subnet
from noah.runs.stored_results import chosen_by
from noah.settings.layers import Layer, file_layer, flatten, recipe_layer, resolve
from noah.settings.settings import Settings
from noah.space.size_text import describe_space
from noah.stages.search_stage import finished_search, has_begun, join_search, search, wait_until_begun
from noah.trackers.listener import tracked
from noah.trackers.open_tracker import check_usable

FORECAST_LOOKS = 10_000
"""A dataset of more images is not looked at for a forecast: that would take longer than what is timed."""


def begin_search(
    listener: Listener,
    runs: Path,
    name: str | None,
    settings: Settings,
    origins: Mapping[str, str],
    time_limit: float | None,
) -> tuple[Run, Materials, float | None]:
    """Make the folder of a new run.

    Args:
        listener: Receives the progress.
        runs: The folder of all runs.
        name: The run's id; None for the date and time.
        settings: Resolved settings.
        origins: The source of each value, by dotted key.
        time_limit: Seconds for all of the search; None for no limit.

    Returns:
        The run, what it works with, and the seconds that are left for `run_search`.

    Raises:
        NoahError: If anything is wrong with the settings, the data, the backbone or the trackers. No run is begun then.
    """
    check_usable(settings.trackers)
    started = time.monotonic()
    run, materials = start_run(runs, settings, origins, listener, name=name, time_limit=time_limit)
    return run, materials, _left(time_limit, started)


def run_search(
    run: Run,
    materials: Materials,
    listener: Listener,
    time_limit: float | None,
    *,
    cluster: Cluster | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Search until the search is finished or the time limit ends it; what the run folder holds is not repeated.

    Args:
        run: The run, which this locks.
        materials: What it works with.
        listener: Receives the progress.
        time_limit: Seconds from now; None for no limit.
        cluster: The machines that evaluate the candidates and train the finalists; None for this one alone.
        workers: Processes of this machine that evaluate the candidates.

    Returns:
        The content of search/best.json.

    Raises:
        RunBusyError: If another process works on the run.
    """
    _tell_run(listener, run, materials)
    try:
        with run.lock():
            return _tracked_search(run, materials, listener, time_limit, cluster, workers)
    except RunBusyError as error:
        if not has_begun(run):
            raise
        raise RunBusyError(error.problem, f"Work on it too: noah search --join {run.option}") from error


def resume_search(
    run: Run,
    listener: Listener,
    *,
    recipe: str | None = None,
    config: Sequence[Path] = (),
    options: Sequence[Layer] = (),
    own: Sequence[Layer] = (),
    time_limit: float | None = None,
    cluster: Cluster | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Go on with a search that was stopped.

    Args:
        run: The run.
        listener: Receives the progress.
        recipe: The recipe, if it was named again.
        config: Settings files that were named again.
        options: Layers of the options that were given again.
        own: Layers of the options for hardware and trackers, which may differ from before.
        time_limit: Seconds from now; None for no limit.
        cluster: As for `run_search`.
        workers: As for `run_search`.

    Returns:
        The content of search/best.json; that of a search which had finished before.

    Raises:
        SettingsError: If anything contradicts the run.
        UsageError: If its subnet was given.
    """
    _refuse_given(run)
    settings = run.settings(own)
    files = [file_layer(path) for path in config]
    if recipe:
        # If the recipe was named at the start, this folder's settings file overrode it.
        files = [recipe_layer(recipe), *project_layers(listener), *files]
    check_unchanged(settings, [*files, *options], run.name, f"Type: noah search --resume --run {run.option}")
    materials = prepare(settings, listener, tell_data=True, run=run)
    check_same_data(run, materials)
    result = finished_search(run)
    if result is not None:
        _tell_run(listener, run, materials)
        listener.say("resume    The search is finished; there is nothing left to do.")
        return result
    return run_search(run, materials, listener, time_limit, cluster=cluster, workers=workers)


def share_search(
    run: Run, listener: Listener, *, own: Sequence[Layer] = (), time_limit: float | None = None
) -> dict[str, Any] | None:
    """Work on the search of a run together with the process that started it, and finish it if that process ends first.

    Args:
        run: The run.
        listener: Receives the progress.
        own: Layers of the options for hardware and trackers, for this process only.
        time_limit: Seconds; None for no limit.

    Returns:
        The content of search/best.json; None if the process that started the search is yet to choose the winner.

    Raises:
        UsageError: If the run's subnet was given.
    """
    started = time.monotonic()
    _refuse_given(run)
    settings = run.settings(own)
    check_usable(settings.trackers)  # used if this process turns out to finish the search
    materials = prepare(settings, listener, run=run)
    check_same_data(run, materials)
    _tell_run(listener, run, materials)
    try:
        wait_until_begun(run, listener)
        candidates = join_search(run, materials, listener, time_limit=time_limit)
        listener.say(f"joined    {len(candidates):,} subnets have been evaluated, by this process and others")
        with run.lock():
            result = finished_search(run)
            if result is None:  # the process that started the search ended before the search did
                result = _tracked_search(run, materials, listener, _left(time_limit, started))
    except RunBusyError:
        listener.say("          The process that started the search chooses the winner.")
        return None
    return result


def forecast_search(
    listener: Listener, settings: Settings, origins: Mapping[str, str], time_limit: float | None
) -> Forecast:
    """Time a few steps and estimate what a run would take; nothing is written.

    Args:
        listener: Receives the progress.
        settings: Resolved settings.
        origins: The source of each value, by dotted key.
        time_limit: Seconds for the search; None for no limit.
    """
    materials = prepare(settings, listener, tell_data=True)
    total = len(materials.dataset.train) + len(materials.dataset.validation)
    if total <= FORECAST_LOOKS:
        materials = look_at_images(materials, listener)
    else:
        listener.say(
            f"images    not all were looked at, because a forecast opens no more than {FORECAST_LOOKS:,}; "
            f"`noah datasets check` looks at all {total:,} and says which a run would leave out"
        )
    materials, _ = adapt(materials, origins, listener, time_limit=time_limit)
    budget, _ = decide_budget(materials, listener)
    return forecast(materials, budget, listener)


def check_unchanged(settings: Settings, layers: Sequence[Layer], run: str, hint: str) -> None:
    """Refuse options that contradict the run to go on with.

    Args:
        settings: Those of the run.
        layers: The options.
        run: The run's name, for the error.
        hint: What to type instead.

    Raises:
        SettingsError: If any value differs; names all of them.
    """
    values = settings.model_dump(mode="json")
    stored = dict(flatten(values))
    asked, origins = resolve([Layer(source="run.yaml", values=values), *layers])
    problems = [
        f"{key}: the run {run} was started with {stored[key]!r}, not {value!r} ({origins[key]})"
        for key, value in flatten(asked.model_dump(mode="json"))
        if stored[key] != value and key != "trackers"  # trackers do not change the result
    ]
    if problems:
        raise SettingsError(problems, hint)


def _left(time_limit: float | None, started: float) -> float | None:
    """The seconds that remain of the time limit."""
    return None if time_limit is None else max(0.0, time_limit - (time.monotonic() - started))


def _tracked_search(
    run: Run,
    materials: Materials,
    listener: Listener,
    time_limit: float | None,
    cluster: Cluster | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    with tracked(run, materials.settings.trackers, listener) as told:
        result = search(run, materials, told, time_limit=time_limit, cluster=cluster, workers=workers)
        score = chosen_by(result)
        figures = {f"validation_{name}": score[name] for name in ("accuracy", "cross_entropy")}
        told.conclude(figures | {"parameters": result["parameters"]})
    return result


def _refuse_given(run: Run) -> None:
    if given_subnet(run) is not None:
        raise UsageError(
            f"The subnet of {run.name} was given: there is nothing to search.",
            f"Train it: noah retrain --resume --run {run.option}",
        )


def _tell_run(listener: Listener, run: Run, materials: Materials) -> None:
    listener.say(f"run       {run.folder}")
    listener.say(f"space     {describe_space(materials.space, run_budget(run, materials))}")
