"""Which files and folders are opened, told by the interpreter's own audit events; threads included."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_EVENTS = frozenset({"open", "os.listdir", "os.scandir"})
_watching: list[set[Path]] = []
_installed: list[bool] = []


@contextlib.contextmanager
def opened_paths() -> Iterator[set[Path]]:
    """Collect the absolute path of everything that is opened or listed inside the block."""
    if not _installed:  # a hook stays for good, so there is one, and it idles outside of the blocks
        sys.addaudithook(_note)
        _installed.append(True)
    found: set[Path] = set()
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _EVENTS and isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 -- resolve() would follow links
        for found in _watching:
            found.add(path)
