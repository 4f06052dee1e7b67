"""`runs/latest`: a small text file with the name of the latest run, usable in paths as if it were that run's folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from noah.errors import UsageError
from noah.files.atomic import write_text
from noah.files.foreign_text import printable

LATEST = "latest"
_LONGEST = 2**11
"""Bytes of a name; a system takes some 255 letters for a folder's, and a run has two folders."""
DEFAULT_RUNS = Path("runs")
"""The folder of all runs, unless another is named."""
_RUN_FILE = "run.yaml"
"""The same as in noah.runs.folder, which is on a higher floor."""


def check_name(name: str, root: Path) -> None:
    """Refuse the name of a run that the file `latest` could not hold.

    Args:
        name: <dataset>/<id>.
        root: The folder of all runs, for the error.

    Raises:
        UsageError: If it is too long, begins or ends with a blank, or holds what cannot be printed.
    """
    if not _is_name(name):
        raise UsageError(
            f"A run below {printable(root)}/ cannot be named {ascii(name)[:300]}.",
            f"The name of its dataset's folder and its own are together at most {_LONGEST:,} bytes of UTF-8: letters, "
            "digits and signs, and blanks only in between.",
        )


def is_runs_folder(folder: Path) -> bool:
    """Whether a folder holds noah's runs: it has the file `latest`, or the usual name, and <dataset>/<id>/run.yaml."""
    named = folder.name == DEFAULT_RUNS.name or (folder / LATEST).is_file()
    return named and any(folder.glob(f"*/*/{_RUN_FILE}"))


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run; its name may be any text, and longer than the system allows."""
    try:
        return (folder / _RUN_FILE).is_file()
    except (OSError, ValueError):
        return False


def run_option(folder: Path) -> str:
    """The argument of `--run` for the run in a folder, quoted: its name in the default folder, otherwise its path."""
    name = f"{folder.parent.name}/{folder.name}"
    return shlex.quote(name if folder == DEFAULT_RUNS / name else str(folder))


def write_latest(root: Path, name: str) -> None:
    """Make `name` (<dataset>/<id>) the latest run under `root`."""
    write_text(root / LATEST, f"{name}\n")


def _is_name(name: str) -> bool:
    return bool(name) and name == name.strip() and name.isprintable() and len(name.encode()) <= _LONGEST


def read_latest(root: Path) -> str | None:
    """The name of the latest run under `root`, or None if there is none yet.

    Raises:
        UsageError: If the file holds no name.
    """
    pointer = root / LATEST
    if not pointer.is_file():
        return None
    with pointer.open("rb") as file:
        name = file.read(_LONGEST + 2).decode(errors="surrogateescape").strip()
    if not _is_name(name):
        raise UsageError(
            f"{pointer} holds no name of a run.", "Name the run itself, as `noah runs` lists it, or remove that file."
        )
    return name


def follow_latest(path: Path) -> Path:
    """Replace the part `latest` of a path, as in runs/latest/export/onnx-fp32, by that run; keep other paths as is."""
    for place, part in enumerate(path.parts):
        root = Path(*path.parts[:place])
        if part == LATEST and (name := read_latest(root)):
            return root.joinpath(name, *path.parts[place + 1 :])
    return path
