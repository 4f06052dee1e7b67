"""The file that a training resumes from: its name, and what can be read of it without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from noah.errors import RunError
from noah.files.bounded import parse_json
from noah.runs.folder import Run

CHECKPOINT_FILE = "checkpoint.safetensors"
DAMAGE = (OSError, SafetensorError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a missing or damaged file raises."""


def read_losses(path: Path) -> tuple[float, ...]:
    """Read the mean training loss of each finished epoch; no weight is read.

    Raises:
        RunError: If the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            return parse_losses(file.metadata())
    except DAMAGE as error:
        raise unreadable(path, error) from error


def parse_losses(metadata: Mapping[str, str] | None) -> tuple[float, ...]:
    """The losses in a checkpoint's metadata.

    Raises:
        KeyError, OverflowError, TypeError, ValueError: If they are missing or damaged.
    """
    return tuple(float(loss) for loss in parse_json((metadata or {})["losses"]))


def unreadable(path: Path, error: BaseException) -> RunError:
    """The error for a checkpoint that is missing or damaged."""
    again = "Start a new run."
    if path.parent.name == "retrain":
        again = f"Train the winner again: noah retrain --restart --run {Run(path.parents[1]).option}"
    what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
    return RunError(f"The checkpoint {path} {what}.", again)
