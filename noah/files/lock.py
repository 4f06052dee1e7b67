"""Lets only one process work at a time, and says which one it is.

The lock is the operating system's own, which is released if its process is killed. Its holder is recorded in a file
beside the lock file; a record that a killed process left behind means nothing, because its lock is free.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from noah.errors import RunBusyError, RunError
from noah.files.atomic import write_json
from noah.files.process_space import process_space

if sys.platform != "win32":
    import fcntl

_LARGEST_NOTE = 2**16
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What file systems answer that keep no locks: NFS without lockd, and some of clusters and containers."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds a lock.

    Attributes:
        process: Its process number.
        host: The name of its machine.
        since: When it took the lock, in local time with its offset.
        command: The command that started it.
        space: Where the number is unique (`noah.files.process_space`); empty in records of older versions.
    """

    process: int
    host: str
    since: str
    command: str
    space: str = ""

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}, since {self.since}, started by `{self.command}`"


class SystemLock(FileLock):
    """The operating system's own lock of a file, never a file that stands for a lock and outlives its process.

    Args:
        path: The file, which stays.
        timeout: Seconds to wait for it; without it, as long as it takes.
    """

    def __init__(self, path: Path, timeout: float = -1) -> None:
        super().__init__(path, timeout=timeout, fallback_to_soft=False)
        self._path = path

    def acquire(self, *arguments: Any, **options: Any) -> AcquireReturnProxy[Any]:
        """Take the lock, as `filelock.FileLock` does.

        Raises:
            RunError: If the file system keeps no locks.
            Timeout: If another process has it for too long.
        """
        try:
            return super().acquire(*arguments, **options)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise RunError(
                f"The file system of {self._path.parent} keeps no locks ({os.strerror(error.errno)}), and without them "
                "two processes could write to one run.",
                "Keep runs on another disk, with --runs FOLDER; on NFS, lockd (rpc.statd) may have to be started.",
            ) from error


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Keep other processes out until the `with` block or this process ends.

    Args:
        path: The lock file, whose folder has to exist.
        what: What is being worked on, named in the error.

    Raises:
        RunBusyError: If another process holds the lock; it says which one.
        RunError: If the file system keeps no locks.
    """
    lock = SystemLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        try:
            with _gate(path):  # it may have been somebody who only asked; nobody does now
                lock.acquire()
        except Timeout as error:
            raise _busy(what, read_owner(path)) from error
    try:
        write_json(_note(path), asdict(_this_process()))
        yield
    finally:
        _note(path).unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file `path`; never in the way of one that takes it meanwhile.

    Systems tell no one whether a lock is held but who tries to take it. So whoever asks first takes another lock, and
    whoever cannot take this one tries again while nobody can be asking. Nothing is written, except on systems that lock
    no folders.
    """
    if not path.exists():
        return False
    with _gate(path):
        return not _is_free(path)


def read_owner(path: Path) -> Owner | None:
    """Read who holds the lock file `path`, which is known to be held; None if the holder has not recorded itself."""
    try:
        with _note(path).open(encoding="utf-8") as file:
            value = {"space": "", **json.loads(file.read(_LARGEST_NOTE))}
        host, since, command, space = (str(value[name]) for name in ("host", "since", "command", "space"))
        return Owner(int(value["process"]), host, since, command, space)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # the lock itself decides; the record only adds to the message


@contextmanager
def _gate(path: Path) -> Iterator[None]:
    """Hold the lock of whoever asks after `path`: its folder's, or a file's where folders have none."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_read_lock(path.parent, exclusively=True))
        except OSError:
            stack.enter_context(SystemLock(path.with_name(f"asking.{path.name}")))
        yield


def _is_free(path: Path) -> bool:
    try:
        with SystemLock(path, timeout=0) if sys.platform == "win32" else _read_lock(path):
            return True
    except (BlockingIOError, Timeout):
        return False


@contextmanager
def _read_lock(path: Path, *, exclusively: bool = False) -> Iterator[None]:
    """Lock a file or folder that need not be writable: exclusively, waiting for it; or else as a reader, at once.

    Raises:
        OSError: If the system cannot lock it; BlockingIOError if a process has locked the file.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile has the handle, too
    finally:
        os.close(handle)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def _this_process() -> Owner:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Owner(os.getpid(), socket.gethostname(), since, command, process_space())


def _busy(what: str, owner: Owner | None) -> RunBusyError:
    who = f": {owner}." if owner else "."
    here = (socket.gethostname(), process_space())
    stop = f": kill {owner.process}" if owner and (owner.host, owner.space) == here else ""
    return RunBusyError(f"Another process is working on {what}{who}", f"Wait until it has ended, or stop it{stop}.")
