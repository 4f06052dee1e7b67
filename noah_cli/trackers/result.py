"""The final figures of a command, for the trackers that its run has; nothing is imported where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from noah.errors import NoahError
from noah.progress import Listener


def track_result(value: Mapping[str, Any], listener: Listener) -> None:
    """Tell a measured accuracy to the trackers that the run was told to before.

    Args:
        value: What a command gives: of a measurement on a split it names run and split. Artefacts are not tracked.
        listener: Told of a tracker that cannot be told. The measurement stays, and its command typed again tells it.
    """
    if "run" not in value or "split" not in value or "provider" in value:
        return
    if not Path(value["run"], "trackers").is_dir():
        return
    from noah.runs import Run
    from noah.settings import Tracker
    from noah_cli.trackers.listener import tracked
    from noah_cli.trackers.log import place_of

    run = Run(Path(value["run"]))
    names = [name for name in get_args(Tracker) if run.path(*place_of(name)).is_file()]
    try:
        with tracked(run, names, listener) as logs:
            logs.conclude({f"{value['split']}_{name}": value[name] for name in ("accuracy", "cross_entropy")})
    except NoahError as error:
        listener.say(f"tracker   not told: {error.problem} {error.hint} Then type this again.")
