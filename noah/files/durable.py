"""How content gets to the disk and a file to its name, where systems differ."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_FULL_SYNC = 51
"""F_FULLFSYNC of macOS, where fsync leaves the content in the cache of the disk."""
_TRIES, _PAUSE_SECONDS = 20, 0.05
"""How often and after how long a file is put in the place of one that another program has open; on Windows, virus
scanners and indexers open every new file for a moment."""


def sync(descriptor: int) -> None:
    """Wait until the content of an open file is on the disk.

    Args:
        descriptor: Of a file that is open for writing; Windows syncs no other.
    """
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
        except OSError:  # disks of a network do not know it
            pass
    os.fsync(descriptor)


def replace(source: Path, target: Path) -> None:
    """Give a file the name of another, whose place it takes, all at once.

    Raises:
        PermissionError: If it is not allowed; on Windows, too, if another program keeps the target open for a second.
    """
    for _ in range(_TRIES - 1 if sys.platform == "win32" else 0):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(_PAUSE_SECONDS)
    source.replace(target)
