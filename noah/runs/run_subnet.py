"""Which subnet a run trains: the winner of its search, or the one that it was given."""

from __future__ import annotations

import shlex

from noah.errors import CommandOrderError, RunError, SettingsError, UsageError
from noah.runs.folder import RUN_FILE, Run
from noah.settings.training_settings import RetrainSettings
from noah.space.subnet import Subnet

STARTED_WITH = ("retrain", "subnet.json")
"""The file that says of which subnet a retraining is that has begun."""
FRONT = "pareto:"
"""The beginning of a subnet's spelling that refers to a Pareto front."""


def chosen_subnet(run: Run) -> Subnet:
    """The subnet that the run trains: the one that it was given, or else the winner of its search.

    Raises:
        CommandOrderError: If the search has not finished.
    """
    given = given_subnet(run)
    if given is not None:
        return given
    if not run.path("search", "best.json").is_file():
        raise CommandOrderError(
            f"The search of {run.name} has not finished.", f"Finish it with: noah search --resume --run {run.option}"
        )
    return read_subnet(run, "search", "best.json")


def given_subnet(run: Run) -> Subnet | None:
    """The subnet that the run was started with, or None for a run that searches.

    Raises:
        RunError: If run.yaml is damaged.
    """
    given = run.description().get("given")
    if given is None:
        return None
    try:
        return Subnet.from_json(given["subnet"])
    except (KeyError, TypeError, SettingsError) as error:
        raise RunError(f"{run.path(RUN_FILE)} holds no subnet under given.", "Start the run again.") from error


def front_subnet(run: Run, spelling: str) -> Subnet:
    """Find the subnet that, for example, `pareto:2` means: the second in the run's Pareto front, most accurate first.

    Raises:
        CommandOrderError: If the search has not finished.
        UsageError: If the front has no such subnet, or the search had only one objective.
    """
    given = run.description().get("given")
    if given is not None:
        searched = given.get("searched")
        raise UsageError(
            f"The subnet of {run.name} was given: this run has no Pareto front.",
            f"Name the run that was searched: --run {shlex.quote(str(searched)) if searched else 'DATASET/ID'}",
        )
    if not run.path("search", "best.json").is_file():
        raise CommandOrderError(
            f"The search of {run.name} has not finished.", f"Finish it with: noah search --resume --run {run.option}"
        )
    if not run.path("search", "pareto.json").is_file():
        raise UsageError(
            f"The search of {run.name} had one objective, and so no Pareto front.",
            "Search with --objective accuracy,params, accuracy,macs or accuracy,latency; the winner of this one is "
            f"trained by: noah retrain --run {run.option}",
        )
    front, number = _read_front(run), spelling.removeprefix(FRONT)
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= len(front)):
        raise UsageError(
            f"--subnet {spelling}: the Pareto front of {run.name} has the subnets 1 to {len(front)}.",
            "1 is the most accurate and the last the cheapest: write pareto:1, for example.",
        )
    return front[int(number) - 1]


def _read_front(run: Run) -> list[Subnet]:
    """Read the subnets of the run's Pareto front, at least one, the most accurate first."""
    try:
        front = [Subnet.from_json(candidate["subnet"]) for candidate in run.read_json("search", "pareto.json")]
    except (KeyError, TypeError, SettingsError):
        front = []
    if not front:
        raise RunError(f"{run.path('search', 'pareto.json')} is damaged.", "Start a new run with `noah search`.")
    return front


def check_inherits(run: Run, settings: RetrainSettings) -> None:
    """Refuse to start from a supernet's weights if there never was a supernet.

    Raises:
        UsageError: If `settings` ask for it and the run's subnet was given.
    """
    if settings.inherit and given_subnet(run) is not None:
        raise UsageError(
            f"The subnet of {run.name} was given, not searched: there is no supernet to inherit weights from.",
            "Train it without --inherit and with retrain.inherit=false.",
        )


def check_still_chosen(run: Run) -> None:
    """Refuse what was trained of another subnet than the run's, as after a search that went on.

    Raises:
        CommandOrderError: If the retraining, finished or not, is of another subnet.
    """
    if not run.path("search", "best.json").is_file():
        return  # it was given, and stays
    for parts in (("retrain", "model.json"), STARTED_WITH):
        if run.path(*parts).is_file() and read_subnet(run, *parts) != chosen_subnet(run):
            raise CommandOrderError(
                f"The search of {run.name} went on after its retraining began, and has another winner now.",
                f"Train that one: noah retrain --restart --run {run.option}",
            )


def read_subnet(run: Run, *parts: str) -> Subnet:
    """Read the subnet from a JSON file of the run.

    Raises:
        RunError: If there is none.
    """
    try:
        return Subnet.from_json(run.read_json(*parts)["subnet"])
    except (KeyError, TypeError, SettingsError) as error:
        raise RunError(f"{run.path(*parts)} holds no subnet.", "Remove it and repeat its stage.") from error
