"""What `noah search` does with a run: starts it, goes on with it, joins it, or only estimates its cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from noah.errors import RunBusyError, SettingsError, UsageError
from noah.prepare.auto import adapt
from noah.prepare.context import Materials, check_same_data, look_at_images, prepare
from noah.prepare.forecast import forecast
from noah.prepare.new_run import start_run
from noah.prepare.run_budget import decide_budget, run_budget
from noah.runs.folder import Run, open_run
from noah.runs.run_subnet import given_subnet
from noah.settings.layers import Layer, file_layer, flatten, recipe_layer, resolve
from noah.settings.settings import Settings
from noah.stages.conclude_search import read_front
from noah.stages.search_stage import finished_search, has_begun, join_search, search, wait_until_begun
from noah_cli.commands.forecast import print_forecast
from noah_cli.commands.search_result import print_front, print_winner
from noah_cli.options.new_run import project_layers
from noah_cli.options.options import run_options
from noah_cli.terminal import console
from noah_cli.trackers.listener import tracked
from noah_cli.trackers.open_tracker import check_usable


def search_new(
    listener: console.ConsoleListener,
    runs: Path,
    name: str | None,
    settings: Settings,
    origins: Mapping[str, str],
    time_limit: float | None,
) -> None:
    """Start a run, and search until it is finished or the time limit ends it.

    Args:
        listener: The console.
        runs: The folder of all runs.
        name: The run's id; None for the date and time.
        settings: Resolved settings.
        origins: The source of each value, by dotted key.
        time_limit: Seconds; None for no limit.
    """
    started = time.monotonic()
    run, materials = start_run(runs, settings, origins, listener, name=name, time_limit=time_limit)
    _search(listener, runs, run, materials, _left(time_limit, started), chosen=False)


def search_stopped(
    listener: console.ConsoleListener,
    runs: Path,
    name: str | None,
    recipe: str | None,
    config: Sequence[Path],
    options: Sequence[Layer],
    own: Sequence[Layer],
    time_limit: float | None,
) -> None:
    """Go on with a run that was stopped.

    Args:
        listener: The console.
        runs: The folder of all runs.
        name: The run; None for the latest.
        recipe: The recipe, if it was named again.
        config: Settings files that were named again.
        options: Layers of the options that were given again.
        own: Layers of the options for hardware and trackers, which may differ from before.
        time_limit: Seconds from now; None for no limit.

    Raises:
        SettingsError: If anything contradicts the run.
    """
    run = open_run(runs, name)
    again = run_options(run.folder, runs, always=True)
    _refuse_given(run, again)
    settings = run.settings(own)
    files = [file_layer(path) for path in config]
    if recipe:
        # If the recipe was named at the start, this folder's settings file overrode it.
        files = [recipe_layer(recipe), *project_layers(listener), *files]
    _check_unchanged(settings, [*files, *options], run.name, f"Type: noah search --resume{again}")
    materials = prepare(settings, listener, tell_data=True, run=run)
    check_same_data(run, materials)
    result = finished_search(run)
    if result is not None:
        _tell_run(listener, run, materials)
        listener.say("resume    The search is finished; there is nothing left to do.")
        _print_result(listener, runs, run, result, chosen=name is not None)
        return
    _search(listener, runs, run, materials, time_limit, chosen=name is not None)


def join_run(
    listener: console.ConsoleListener, runs: Path, name: str, own: Sequence[Layer], time_limit: float | None
) -> None:
    """Work on the search of a run together with the process that started it, and finish it if that process ends first.

    Args:
        listener: The console.
        runs: The folder of all runs.
        name: The run, as DATASET/ID or a path.
        own: Layers of the options for hardware and trackers, for this process only.
        time_limit: Seconds; None for no limit.
    """
    started = time.monotonic()
    run = open_run(runs, name)
    _refuse_given(run, run_options(run.folder, runs, always=True))
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
        return
    except KeyboardInterrupt:
        console.print_interrupted(f"noah search --join {run.option}")
        raise typer.Exit(130) from None
    _print_result(listener, runs, run, result, chosen=True)


def dry(
    listener: console.ConsoleListener, settings: Settings, origins: Mapping[str, str], time_limit: float | None
) -> None:
    """Print what a run would take, and write nothing."""
    materials = look_at_images(prepare(settings, listener, tell_data=True), listener)
    materials, _ = adapt(materials, origins, listener, time_limit=time_limit)
    budget, _ = decide_budget(materials, listener)
    found = forecast(materials, budget, listener)
    print_forecast(listener, found)
    listener.result(asdict(found))


def _left(time_limit: float | None, started: float) -> float | None:
    """The seconds that remain of the time limit."""
    return None if time_limit is None else max(0.0, time_limit - (time.monotonic() - started))


def _search(
    listener: console.ConsoleListener,
    runs: Path,
    run: Run,
    materials: Materials,
    time_limit: float | None,
    *,
    chosen: bool,
) -> None:
    _tell_run(listener, run, materials)
    again = run_options(run.folder, runs, always=True)
    try:
        with run.lock():
            result = _tracked_search(run, materials, listener, time_limit)
    except RunBusyError as error:
        if not has_begun(run):
            raise
        raise RunBusyError(error.problem, f"Work on it too: noah search --join {run.option}") from error
    except KeyboardInterrupt:
        console.print_interrupted(f"noah search --resume{again}")
        raise typer.Exit(130) from None
    _print_result(listener, runs, run, result, chosen=chosen)


def _tracked_search(
    run: Run, materials: Materials, listener: console.ConsoleListener, time_limit: float | None
) -> dict[str, Any]:
    with tracked(run, materials.settings.trackers, listener) as told:
        result = search(run, materials, told, time_limit=time_limit)
        figures = {f"validation_{name}": result[name] for name in ("accuracy", "cross_entropy")}
        told.conclude(figures | {"parameters": result["parameters"]})
    return result


def _refuse_given(run: Run, again: str) -> None:
    if given_subnet(run) is not None:
        raise UsageError(
            f"The subnet of {run.name} was given: there is nothing to search.",
            f"Train it: noah retrain --resume{again}",
        )


def _tell_run(listener: console.ConsoleListener, run: Run, materials: Materials) -> None:
    listener.say(f"run       {run.folder}")
    listener.say(f"space     {console.describe_space(materials.space, run_budget(run, materials))}")


def _print_result(
    listener: console.ConsoleListener, runs: Path, run: Run, result: dict[str, Any], *, chosen: bool
) -> None:
    """Print the winner and what to type next, which names the run if the user chose it by name."""
    again = run_options(run.folder, runs, always=chosen)
    print_winner(listener, result)
    if run.path("search", "pareto.json").is_file():
        print_front(listener, read_front(run), result["objective"], again)
    listener.result({"run": str(run.folder), **result})
    if result.get("stopped"):
        listener.say_next(f"noah search --resume{again}   # goes on with the search, or:")
    listener.say_next(f"noah retrain{again}")


def _check_unchanged(settings: Settings, layers: Sequence[Layer], run: str, hint: str) -> None:
    """Refuse options that contradict the run to go on with."""
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
