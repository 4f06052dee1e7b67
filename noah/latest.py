"""`runs/latest`: a small text file with the name of the latest run, usable in paths as if it were that run's folder."""

from __future__ import annotations

from pathlib import Path

from noah.atomic import write_text

LATEST = "latest"
DEFAULT_RUNS = Path("runs")
"""The folder of all runs where no other is named."""


def write_latest(root: Path, name: str) -> None:
    """Make `name` (<dataset>/<id>) the latest run under `root`."""
    write_text(root / LATEST, f"{name}\n")


def read_latest(root: Path) -> str | None:
    """The name of the latest run under `root`, or None if there is none yet."""
    pointer = root / LATEST
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def follow_latest(path: Path) -> Path:
    """Replace a part `latest` by the run that it names, as in runs/latest/export/onnx-fp32; other paths stay."""
    for place, part in enumerate(path.parts):
        root = Path(*path.parts[:place])
        if part == LATEST and (name := read_latest(root)):
            return root.joinpath(name, *path.parts[place + 1 :])
    return path
