"""Logs a measured accuracy to the trackers that its run has used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from noah.errors import NoahError
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.settings import Tracker
from noah.trackers.listener import tracked
from noah.trackers.log import place_of


def track_result(run: Run, result: Mapping[str, Any], listener: Listener) -> None:
    """Log a measured accuracy to the trackers that the run has used before.

    Args:
        run: The run that was measured.
        result: The result of its subnet on a split.
        listener: Reports a tracker that fails. The measurement stays, and the same command logs it later.
    """
    names = [name for name in get_args(Tracker) if run.path(*place_of(name)).is_file()]
    try:
        with tracked(run, names, listener) as logs:
            logs.conclude({f"{result['split']}_{name}": result[name] for name in ("accuracy", "cross_entropy")})
    except NoahError as error:
        listener.say(f"tracker   not logged: {error.problem} {error.hint} Then repeat this command.")
