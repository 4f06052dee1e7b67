"""Writes files so that each holds either its whole new content or what was there before, and claims folders."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from noah.files.bounded import LARGEST_JSON, check_size
from noah.files.durable import replace, sync


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; if the block ends without an exception, the file is renamed to `path`.

    The content reaches the disk before the name does, so a power cut leaves no empty file behind. On an exception,
    including an interrupt, the temporary file is removed and `path` does not change. The caller creates the file, and
    closes it before the block ends.

    Args:
        path: The final file, whose folder has to exist.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs no handle that only reads
            sync(file.fileno())
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write a UTF-8 text file atomically; its folder is created.

    Of a name that is not UTF-8 the bytes are written as \udcff, which JSON reads back as they were.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write a JSON file atomically; its folder is created.

    Args:
        path: The file.
        value: What it is to hold.
        indent: Blanks a level; None for one line.

    Raises:
        RunError: If it would be larger than noah reads.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=None if indent else (",", ":")) + "\n"
    check_size(path, len(text.encode(errors="backslashreplace")), LARGEST_JSON)
    write_text(path, text)


def make_folder(parent: Path, name: str) -> Path:
    """Make a folder with that name in `parent`, which is created if missing; if it exists, append -2, -3 and so on."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("numbers do not end")
