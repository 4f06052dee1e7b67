"""Reads files of a run folder without changing any of them, also while another process writes to it."""

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
    """What a run lacks, and what brings it.

    Args:
        problem: What is not there, in a sentence.
        commands: What to type, in this order; empty where nothing brings it.
    """

    problem: str
    commands: tuple[str, ...] = ()


def read_losses(checkpoint: Path) -> tuple[float, ...]:
    """The training loss of each epoch that a checkpoint knows of; its weights are left where they are.

    Raises:
        RunError: If the file is damaged.
    """
    with well_formed(checkpoint, "no losses"), safe_open(checkpoint, framework="numpy") as file:
        return tuple(float(loss) for loss in parse_json((file.metadata() or {})["losses"]))


@contextmanager
def well_formed(path: Path, lack: str) -> Iterator[None]:
    """Turn what goes wrong when the content of a file is taken apart into one error.

    Args:
        path: The file.
        lack: What it holds not, as in "no accuracy".

    Raises:
        RunError: "PATH holds LACK."
    """
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, SafetensorError) as error:
        raise RunError(f"{path} holds {lack}.", "Remove it and repeat its stage.") from error
