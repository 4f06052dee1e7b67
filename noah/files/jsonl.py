"""Files of JSON lines, which grow line by line: an interruption costs only the line being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from noah.errors import RunError
from noah.files.bounded import LARGEST_JSON, parse_json, read_bounded

START_AGAIN = "Start a new run with `noah search`."
"""What to do about a damaged file of a run."""


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write, so that an interruption costs at most this line.

    An incomplete last line from an earlier interruption is cut off first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(file.tell() - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(len(_whole_lines(file.read())))
        file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> list[Any]:
    """Read the records of a JSON lines file; an incomplete last line is cut off, in the file as well.

    Raises:
        RunError: If another line is damaged.
    """
    if not path.exists():
        return []
    try:
        content = read_bounded(path, LARGEST_JSON)
    except ValueError as error:
        raise RunError(f"{path} cannot be read: {error}", START_AGAIN) from error
    whole = _whole_lines(content)
    if whole != content:
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return list(_parse_lines(path, whole))


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _parse_lines(path: Path, content: bytes) -> Iterator[Any]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            yield parse_json(line)
        except ValueError as error:
            raise RunError(f"{path} is damaged in line {number}: {error}", START_AGAIN) from error
