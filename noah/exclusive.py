"""One process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from noah.errors import RunBusyError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Keep other processes out until the `with` block ends, or this process does.

    Args:
        path: The lock file; its folder exists.
        what: What is worked on, for the error.

    Raises:
        RunBusyError: If another process holds it.
    """
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunBusyError(f"Another process is working on {what}.", "Wait until it has ended, or stop it.") from error
    try:
        yield
    finally:
        lock.release()
