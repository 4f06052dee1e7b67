"""Reads files of a run folder without changing them, even while another process writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from noah.errors import RunError
from noah.files.bounded import parse_json


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a run does not have, and how to get it.

    Args:
        problem: What is missing, as a sentence.
        commands: What to type, in this order; empty if nothing helps.
    """

    problem: str
    commands: tuple[str, ...] = ()


def read_losses(checkpoint: Path) -> tuple[float, ...]:
    """Read the training loss of each epoch from a checkpoint, without loading its weights.

    Raises:
        RunError: If the file is damaged.
    """
    with well_formed(checkpoint, "no losses"), safe_open(checkpoint, framework="numpy") as file:
        return tuple(float(loss) for loss in parse_json((file.metadata() or {})["losses"]))


@contextmanager
def well_formed(path: Path, lack: str) -> Iterator[None]:
    """Turn whatever goes wrong in interpreting a file's content into one error.

    Args:
        path: The file being read.
        lack: What is missing from it, such as "no accuracy".

    Raises:
        RunError: With the message "PATH holds LACK."
    """
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, SafetensorError) as error:
        raise RunError(f"{path} holds {lack}.", "Remove it and repeat its stage.") from error
