"""The lock of a run: who holds it is told, and what a killed process held is free."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from noah.errors import RunBusyError, RunError
from noah.files.lock import exclusive, is_held, read_owner
from noah.files.process_space import process_space
from tests.commands import process_environment

HOLD = """
import sys
from pathlib import Path
from noah.files.lock import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""

HOLD_WITH_CHILD = """
import os, signal, sys
from pathlib import Path
from noah.files.lock import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    if os.fork() == 0:
        print("held", flush=True)  # by the child: only once it runs has it let go of the lock
        sys.stdin.read()
        os._exit(0)
    signal.pause()
"""


def hold(lock: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends, or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock), "two words"],
        env=process_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def refusal(lock: Path) -> RunBusyError:
    with pytest.raises(RunBusyError) as caught, exclusive(lock, "digits/first"):
        pass
    return caught.value


def test_the_error_names_the_owner(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = hold(lock)
    error = refusal(lock)
    owner = read_owner(lock)
    process.communicate("")
    assert owner is not None
    assert (owner.process, owner.host) == (process.pid, socket.gethostname())
    assert owner.command == shlex.join(["-c", str(lock), "two words"])
    assert timedelta(0) <= datetime.now().astimezone() - datetime.fromisoformat(owner.since) < timedelta(minutes=2)
    assert error.problem == f"Another process is working on digits/first: {owner}."
    assert error.hint == f"Wait until it has ended, or stop it: kill {process.pid}."
    assert f"process {process.pid} on {socket.gethostname()}, since {owner.since}, started by `-c " in error.problem


def test_what_a_killed_process_held_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = hold(lock)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = read_owner(lock)
    assert left is not None  # it had no time to tidy up
    assert left.process == process.pid
    with exclusive(lock, "it"):
        taken = read_owner(lock)
        assert taken is not None
        assert taken.process == os.getpid()
        assert f"process {os.getpid()} on " in refusal(lock).problem


def test_the_children_of_a_killed_process_do_not_keep_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_WITH_CHILD, str(lock)],
        env=process_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    with exclusive(lock, "it"):  # though the child lives until its input ends
        pass
    process.communicate()


def test_nothing_is_left_of_an_owner_that_is_done(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), exclusive(lock, "it"):
        raise KeyboardInterrupt
    assert read_owner(lock) is None
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == []
    with exclusive(lock, "it"):
        pass


@pytest.mark.parametrize("content", [b"", b"[]", b'{"process": "x"}', b"\xff", b"[" * 60_000, b'{"process": 1e999}'])
def test_a_damaged_note_leaves_the_error_as_it_is(tmp_path: Path, content: bytes) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, "it"):
        (tmp_path / "lock.owner").write_bytes(content)
        error = refusal(lock)
    assert (error.problem, error.hint) == (
        "Another process is working on digits/first.",
        "Wait until it has ended, or stop it.",
    )


@pytest.mark.parametrize(
    ("host", "more"),
    [
        ("elsewhere", {"space": process_space()}),
        (socket.gethostname(), {"space": "that of a container"}),
        (socket.gethostname(), {}),  # as older versions wrote it: perhaps here, perhaps in a container
        ("elsewhere", {}),
    ],
)
def test_an_owner_elsewhere_cannot_be_killed_from_here(tmp_path: Path, host: str, more: dict[str, str]) -> None:
    lock = tmp_path / "lock"
    note = {"process": 7, "host": host, "since": "2026-01-01 10:00:00+00:00", "command": "noah search", **more}
    with exclusive(lock, "it"):
        (tmp_path / "lock.owner").write_text(json.dumps(note))
        error = refusal(lock)
    assert error.problem.endswith(f"process 7 on {host}, since 2026-01-01 10:00:00+00:00, started by `noah search`.")
    assert error.hint == "Wait until it has ended, or stop it."


def test_asking_tells_whether_a_process_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert list(tmp_path.iterdir()) == []
    process = hold(lock)
    owner = read_owner(lock)
    assert is_held(lock)
    assert read_owner(lock) == owner  # which an asker does not write itself into
    process.kill()
    process.communicate()
    assert not is_held(lock)
    with exclusive(lock, "it"):
        assert is_held(lock)


def test_asking_writes_nothing(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, "it"):
        before = sorted(path.name for path in tmp_path.iterdir())
        assert is_held(lock)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not is_held(lock)
    assert list(tmp_path.iterdir()) == [lock]


def test_what_may_only_be_read_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be allowed everything, so opening a file to write is refused here."""
    lock = tmp_path / "lock"
    process = hold(lock)
    opened = os.open

    def read_only(path: str | Path, flags: int, *rest: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", read_only)
    assert is_held(lock)
    process.communicate("")
    assert not is_held(lock)


def test_where_folders_cannot_be_locked_a_file_is_locked_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, where only a file that is open for writing is locked exclusively."""
    lock, real = tmp_path / "lock", fcntl.flock

    def flock(handle: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with exclusive(lock, "it"):
        assert is_held(lock)
        refusal(lock)
    assert not is_held(lock)


def test_asking_never_makes_a_taker_fail(tmp_path: Path) -> None:
    """Many threads ask without a pause while another one takes the lock again and again."""
    lock, done = tmp_path / "lock", threading.Event()
    with exclusive(lock, "it"):
        pass

    def ask() -> None:
        while not done.is_set():
            is_held(lock)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(200):
            with exclusive(lock, "it"):
                pass
    finally:
        done.set()
        for asker in askers:
            asker.join()


def test_a_taker_that_meets_an_asker_waits_for_its_answer(tmp_path: Path) -> None:
    lock, taken = tmp_path / "lock", threading.Event()

    def take() -> None:
        with exclusive(lock, "it"):
            taken.set()

    taker = threading.Thread(target=take)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with FileLock(lock):  # as `is_held` does between question and answer
        taker.start()
        assert not taken.wait(0.2)
    os.close(folder)
    taker.join()
    assert taken.is_set()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("ask", [lambda path: exclusive(path, "the run").__enter__(), is_held])
def test_a_file_system_without_locks_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Path], object], number: int
) -> None:
    """As NFS without lockd answers; no file that stands for a lock is made instead, which a killed process leaves."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunError, match=f"The file system of {tmp_path} keeps no locks") as caught:
        ask(lock)
    assert os.strerror(number) in caught.value.problem
    assert caught.value.hint.startswith("Keep runs on another disk, with --runs FOLDER")
    assert not isinstance(caught.value, RunBusyError)


def test_another_error_of_the_file_system_stays_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), exclusive(tmp_path / "lock", "the run"):
        pass
