"""Files of JSON lines, which grow line by line: an interruption costs only the line being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noah.errors import RunError
from noah.files.bounded import LARGEST_JSON, check_size, parse_json, read_bounded
from noah.files.durable import sync

START_AGAIN = "Start a new run with `noah search`."
"""What to do about a damaged file of a run."""


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON line in a single write, so that an interruption costs at most this line.

    A last line that an earlier interruption tore is cut off first.

    Raises:
        RunError: If the file would become larger than noah reads.
    """
    append_lines(path, [record])


def append_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Append JSON lines as `append_line` appends one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(max(file.tell() - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(len(_whole_lines(file.read())))
        content = to_lines(records).encode(errors="backslashreplace")
        check_size(path, file.seek(0, os.SEEK_END) + len(content), LARGEST_JSON)
        file.write(content)
        file.flush()
        sync(file.fileno())


def to_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines, each with its end."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON lines file up to its last whole line; none where there is no file.

    Nothing is written: what follows the last whole line may be one that another process is just writing, and if an
    interruption tore it, `append_line` cuts it off.

    Raises:
        RunError: If it cannot be read, or a line holds no record.
    """
    try:
        content = read_bounded(path, LARGEST_JSON)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}", START_AGAIN) from error
    return list(_parse_lines(path, _whole_lines(content)))


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def _parse_lines(path: Path, content: bytes) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = parse_json(line)
        except ValueError as error:
            raise RunError(f"{path} is damaged in line {number}: {error}", START_AGAIN) from error
        if not isinstance(record, dict):
            raise RunError(f"{path} is damaged in line {number}: it is no record.", START_AGAIN)
        yield record
