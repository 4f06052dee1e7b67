"""Lists the runs of a folder, and removes runs."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from noah.errors import NoahError, RunBusyError, RunError, UsageError
from noah.files.latest import LATEST, read_latest, write_latest
from noah.files.lock import is_held, read_owner
from noah.runs.folder import RUN_FILE, Run

Stage = Literal["begun", "supernet", "searched", "retrained", "tested", "damaged"]
_DONE: tuple[tuple[Stage, tuple[str, ...]], ...] = (
    ("tested", ("eval", "test.json")),
    ("retrained", ("retrain", "model.json")),
    ("searched", ("search", "best.json")),
    ("supernet", ("supernet", "losses.json")),
)
"""The last file of each stage, the last stage first."""


@dataclass(frozen=True, slots=True)
class ListedRun:
    """What a list says of a run.

    Attributes:
        name: <dataset>/<id>.
        created: When it was begun, ISO 8601; empty if that is not known.
        bytes: Of all its files.
        stage: The last stage that is done; `damaged` if its files cannot be read.
        accuracy: On the test images, 0..1; None if they were not measured.
        artifacts: How many it has exported.
        is_latest: Whether it is the run that commands take if none is named.
        is_busy: Whether a process is searching or retraining in it.
    """

    name: str
    created: str
    bytes: int
    stage: Stage
    accuracy: float | None
    artifacts: int
    is_latest: bool
    is_busy: bool

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def list_runs(root: Path) -> list[ListedRun]:
    """List the runs below a folder, the oldest first.

    Which is the latest is not known where `find_latest` says why not.
    """
    latest, _ = find_latest(root)
    found = [look_at(Run(path.parent), latest) for path in root.glob(f"[!.]*/[!.]*/{RUN_FILE}")]
    return sorted(found, key=lambda run: (run.created, run.name))


def find_latest(root: Path) -> tuple[str | None, str]:
    """The name of the latest run, and why it is not known; "" if it is, or if there is none."""
    try:
        return read_latest(root), ""
    except UsageError as error:
        why = error.problem.rstrip(".")
    except OSError as error:
        why = f"{root / LATEST} cannot be read: {error.strerror}"
    return None, f"{why}, so no run counts as the latest; remove that file."


def look_at(run: Run, latest: str | None) -> ListedRun:
    """Say what a list says of one run; damage is told as its stage.

    Args:
        run: The run.
        latest: The name of the latest run.
    """
    done: list[Stage] = [stage for stage, parts in _DONE if run.path(*parts).is_file()]
    stage: Stage = done[0] if done else "begun"
    created, accuracy = "", None
    try:
        created = str(run.description().get("created", ""))
        if stage == "tested":
            accuracy = float(run.read_json("eval", "test.json")["accuracy"])
    except (NoahError, KeyError, TypeError, ValueError):
        stage = "damaged"
    artifacts = sum(1 for path in run.path("export").glob("*/manifest.json") if not path.parent.name.startswith("."))
    try:
        busy = is_held(run.path("lock"))
    except (OSError, RunError):  # where nobody can ask, as in a folder of someone else's, nobody is said to work
        busy = False
    return ListedRun(run.name, created, _size(run.folder), stage, accuracy, artifacts, run.name == latest, busy)


def check_removable(runs: Sequence[Run]) -> None:
    """Refuse to remove a run in which a process is searching or retraining.

    Raises:
        RunBusyError: It names the first such run and the process.
    """
    for run in runs:
        if is_held(run.path("lock")):
            owner = read_owner(run.path("lock"))
            raise RunBusyError(
                f"{run.name} is not removed: a process is working on it{f', {owner}' if owner else ''}.",
                "Wait until it has ended, or stop it. Nothing was removed.",
            )


def remove_runs(root: Path, runs: Sequence[Run]) -> str | None:
    """Remove runs with everything in them; if one of them is the latest, the newest of the others becomes it.

    A run loses its name before its files are removed, so that an interruption leaves no half of a run.

    Args:
        root: The folder of all runs.
        runs: The runs to remove.

    Returns:
        The name of the latest run now; None if there is none, or its file cannot be read, which then stays.

    Raises:
        RunBusyError: If a process is working on one of them; nothing is removed then.
    """
    check_removable(runs)
    for run in runs:
        if run.folder.is_symlink():
            run.folder.unlink()
            continue
        nameless = run.folder.with_name(f".{run.folder.name}.{secrets.token_hex(4)}.removed")
        run.folder.rename(nameless)
        shutil.rmtree(nameless)
        if not any(run.folder.parent.iterdir()):
            run.folder.parent.rmdir()
    latest, _ = find_latest(root)
    if latest is None or (root / latest / RUN_FILE).is_file():
        return latest
    left = list_runs(root)
    if not left:
        (root / LATEST).unlink()
        return None
    write_latest(root, left[-1].name)
    return left[-1].name


def check_named(root: Path, runs: Sequence[Run]) -> None:
    """Refuse runs that are not below the folder of all runs.

    Raises:
        UsageError: It names the first.
    """
    for run in runs:
        if run.folder.resolve().parent.parent != root.resolve():
            raise UsageError(f"{run.folder} is not a run below {root}/.", "Name its folder of runs with --runs.")


def _size(folder: Path) -> int:
    """Bytes of all files; one that disappears meanwhile counts nothing."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
