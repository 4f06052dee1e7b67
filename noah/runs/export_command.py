"""The command that writes an artifact, or writes it again, from the place where it lies."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from noah.files.latest import is_run, run_option
from noah.progress import first_of

EXPORT = "export"
"""The folder of a run that holds its artifacts."""
_NAMED = 3
_ARTIFACT = re.compile(
    r"(?P<format>[a-z0-9]+)(?:-(?P<precision>fp32|fp16|bf16|int8-dynamic|int8))?(?:-(?P<input>uint8|image))?"
    r"(?:-(?P<output>probabilities))?(?:-(?P<input_size>[0-9]+)px)?"
)
"""How the folder of an artifact is called: the values of its options, as `export.write.request` puts them together."""


def export_command(run: Path | None, name: str = "") -> str:
    """The command that writes an artifact.

    Args:
        run: The folder of its run; None for the latest.
        name: The folder of the artifact, whose options are read from it; "" for the default ones.
    """
    found = _ARTIFACT.fullmatch(name)
    given = {} if found is None else found.groupdict()
    options = [f"--{option.replace('_', '-')} {value}" for option, value in given.items() if value]
    return _spelled(options, run)


def export_again(artifact: Path) -> str:
    """Say how to replace the artifact in a folder: by the options of its name, if it lies in its run."""
    run = _run_around(artifact)
    return f"Export it again: {export_command(run, artifact.absolute().name if run else '')}"


def export_beside(artifact: Path, options: str) -> str:
    """The command that writes another artifact of the run whose folder holds this one, or of the latest run.

    Args:
        artifact: The folder of the artifact that is there.
        options: The options of the other one.
    """
    return _spelled([options], _run_around(artifact))


def where_artifacts_are(place: Path) -> str:
    """Say where artifacts are, or how to write one, to somebody who has named a place without any."""
    whole = place.absolute()
    run = next((_from_here(folder) for folder in (whole, *list(whole.parents)[:4]) if is_run(folder)), None)
    there = sorted(path.parent for path in run.glob(f"{EXPORT}/[!.]*/manifest.json")) if run else []
    if there:
        return f"Name one that is there: {first_of([shlex.quote(str(folder)) for folder in there], _NAMED)}"
    if place.is_dir() and any(place.glob("model.*")):
        return "A model alone is not enough for noah's commands: bring the whole folder that noah export wrote."
    return f"Write one: {export_command(run)}"


def _spelled(options: Sequence[str], run: Path | None) -> str:
    return " ".join(["noah export", *options, *([f"--run {run_option(run)}"] if run else [])])


def _run_around(artifact: Path) -> Path | None:
    """The run whose folder of artifacts holds this one."""
    folder = artifact.absolute()
    run = folder.parent.parent
    return _from_here(run) if folder.parent.name == EXPORT and is_run(run) else None


def _from_here(path: Path) -> Path:
    """The path from the working folder, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) and path != Path.cwd() else path
