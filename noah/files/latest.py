"""`runs/latest`: a small text file with the name of the latest run, usable in paths as if it were that run's folder."""

from __future__ import annotations

from pathlib import Path

from noah.errors import UsageError
from noah.files.atomic import write_text

LATEST = "latest"
_LONGEST = 200
"""The most characters in a name; file names may have 255."""
DEFAULT_RUNS = Path("runs")
"""The folder of all runs, unless another is named."""


def write_latest(root: Path, name: str) -> None:
    """Make `name` (<dataset>/<id>) the latest run under `root`."""
    write_text(root / LATEST, f"{name}\n")


def read_latest(root: Path) -> str | None:
    """The name of the latest run under `root`, or None if there is none yet.

    Raises:
        UsageError: If the file holds no name.
    """
    pointer = root / LATEST
    if not pointer.is_file():
        return None
    with pointer.open("rb") as file:
        name = file.read(_LONGEST + 1).decode(errors="surrogateescape").strip()
    if not name or len(name) > _LONGEST or not name.isprintable():
        raise UsageError(f"{pointer} holds no name of a run.", "Name the run with --run, or remove that file.")
    return name


def follow_latest(path: Path) -> Path:
    """Replace the part `latest` of a path, as in runs/latest/export/onnx-fp32, by that run; keep other paths as is."""
    for place, part in enumerate(path.parts):
        root = Path(*path.parts[:place])
        if part == LATEST and (name := read_latest(root)):
            return root.joinpath(name, *path.parts[place + 1 :])
    return path
