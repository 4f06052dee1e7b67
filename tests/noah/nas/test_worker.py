"""Which workers count as dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import psutil
import pytest

from noah.files.process_space import process_space
from noah.nas.worker import LAPSE_SECONDS, UNSIGNED_SECONDS, Beat, Watch, Worker, this_worker


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def beat_of(process: int, number: int = 1, host: str | None = None, space: str | None = None) -> Beat:
    worker = Worker("other", host or socket.gethostname(), process, process_space() if space is None else space)
    return Beat(worker, number, idle=False)


def test_this_worker_has_a_name_of_its_own_each_time() -> None:
    first, second = this_worker(), this_worker()
    assert (first.host, first.process, first.space) == (socket.gethostname(), os.getpid(), process_space())
    assert first.name != second.name
    assert str(os.getpid()) in first.name


def test_a_process_that_has_ended_is_dead_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watch = Watch()
        assert not watch.has_died("other", beat_of(process.pid))
        process.communicate(b"\n")
    assert watch.has_died("other", beat_of(process.pid))


@pytest.mark.skipif(sys.platform == "win32", reason="no process waits for its parent there")
def test_a_process_that_was_killed_and_that_nobody_asked_after_is_dead_at_once() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not Watch().has_died("other", beat_of(process.pid))
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # until it has ended, and leaves it as it is
        assert Watch().has_died("other", beat_of(process.pid))


def test_a_process_number_that_was_given_again() -> None:
    # To this process: whoever else had its number has ended.
    assert Watch().has_died("other", beat_of(os.getpid()))
    # To another one, which lives and never beats.
    clock = Clock()
    watch = Watch(clock)
    parent = beat_of(os.getppid())
    assert not watch.has_died("other", parent)
    clock.now += LAPSE_SECONDS + 1
    assert watch.has_died("other", parent)


def test_whoever_is_alone_waits_for_nobody() -> None:
    beat = beat_of(4711, host="a machine that is gone")
    assert not Watch().has_died("other", beat)
    assert Watch(alone=True).has_died("other", beat) and Watch(alone=True).has_died("unsigned", None)


@pytest.mark.parametrize("space", ["that of another container", ""])
@pytest.mark.parametrize("number", ["mine", "nobody's"])
def test_in_a_container_of_the_same_host_name_only_beats_tell(space: str, number: str) -> None:
    """Its process number may be this one's, or one that is free here. An old record does not tell the container."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    process = os.getpid() if number == "mine" else ended.pid
    clock = Clock()
    watch = Watch(clock)
    for beat in (1, 2):
        clock.now += LAPSE_SECONDS - 1
        assert not watch.has_died("other", beat_of(process, beat, space=space))
    clock.now += LAPSE_SECONDS + 1
    assert watch.has_died("other", beat_of(process, 2, space=space))


def test_a_process_of_someone_else_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def status(self: psutil.Process) -> str:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "status", status)
    assert not Watch().has_died("other", beat_of(os.getppid()))


def test_a_worker_on_another_machine_is_dead_when_its_beats_stop() -> None:
    clock = Clock()
    watch = Watch(clock)
    for number in (1, 2):  # this machine's own number is of no matter there
        clock.now += LAPSE_SECONDS - 1
        assert not watch.has_died("other", beat_of(os.getpid(), number, "elsewhere"))
    clock.now += LAPSE_SECONDS
    assert not watch.has_died("other", beat_of(os.getpid(), 2, "elsewhere"))
    clock.now += 1
    assert watch.has_died("other", beat_of(os.getpid(), 2, "elsewhere"))
    assert not watch.has_died("third", beat_of(1, 2, "elsewhere"))  # is seen for the first time
    assert not watch.has_died("other", beat_of(os.getpid(), 3, "elsewhere"))  # it was only slow


def test_a_candidate_that_nobody_signed_is_soon_a_dead_ones() -> None:
    clock = Clock()
    watch = Watch(clock)
    assert not watch.has_died("one", None)
    clock.now += UNSIGNED_SECONDS
    assert not watch.has_died("one", None)
    clock.now += 1
    assert watch.has_died("one", None)
    assert not watch.has_died("another", None)  # whose time has only begun
    assert UNSIGNED_SECONDS < LAPSE_SECONDS


def test_a_beat_comes_back_from_json() -> None:
    beat = Beat(Worker("name", "host", 7, "space"), 3, idle=True)
    assert Beat.from_json("name", beat.to_json()) == beat


def test_a_beat_of_an_older_version_is_read() -> None:
    old = {"host": "host", "process": 7, "number": 3, "idle": True}
    assert Beat.from_json("name", old) == Beat(Worker("name", "host", 7, ""), 3, idle=True)
