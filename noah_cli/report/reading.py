"""Reads files of a run folder without changing any of them, also while another process writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from noah.errors import RunError
from noah.files.bounded import LARGEST_JSON, parse_json, read_bounded


@dataclass(frozen=True, slots=True)
class Missing:
    """What a run lacks, and what brings it.

    Args:
        problem: What is not there, in a sentence.
        commands: What to type, in this order; empty where nothing brings it.
    """

    problem: str
    commands: tuple[str, ...] = ()


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file up to its last whole line; none where there is no file.

    `noah.runs.folder.read_lines` cuts a torn last line off, in the file too. Here it may be one that is just being
    written.

    Raises:
        RunError: If a line is damaged.
    """
    if not path.is_file():
        return []
    with well_formed(path, "no lines that can be read"):
        content = read_bounded(path, LARGEST_JSON)
    records = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        with well_formed(path, f"in line {number} no record"):
            record = parse_json(line)
            if not isinstance(record, dict):
                raise TypeError("not a mapping")
            records.append(record)
    return records


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
