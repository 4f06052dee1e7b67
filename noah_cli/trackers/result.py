"""A measured accuracy, told to the trackers that its run has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from noah.errors import NoahError
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.settings import Tracker
from noah_cli.trackers.listener import tracked
from noah_cli.trackers.log import place_of


def track_result(run: Run, result: Mapping[str, Any], listener: Listener) -> None:
    """Tell a measured accuracy to the trackers that the run was told to before.

    Args:
        run: The run.
        result: Of the measurement of its subnet on a split.
        listener: Told of a tracker that cannot be told. The measurement stays, and its command typed again tells it.
    """
    names = [name for name in get_args(Tracker) if run.path(*place_of(name)).is_file()]
    try:
        with tracked(run, names, listener) as logs:
            logs.conclude({f"{result['split']}_{name}": result[name] for name in ("accuracy", "cross_entropy")})
    except NoahError as error:
        listener.say(f"tracker   not told: {error.problem} {error.hint} Then type this again.")
