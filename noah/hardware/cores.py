"""How many cores this process may use: of the machine, of a container's quota, and beside other noah processes."""

from __future__ import annotations

import atexit
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from noah.hardware.control_groups import control_groups
from noah.progress import counted


@dataclass(frozen=True, slots=True)
class Cores:
    """A number of cores, at least 1, and where it comes from, for a line that is printed."""

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{counted(self.count, 'threads')}, {self.reason}"


def cpu_quota(groups: Callable[[str], tuple[Path, ...]] = control_groups) -> float | None:
    """Read how many cores' worth of time the control groups of this process allow; None if as much as there is.

    Args:
        groups: Gives the folders of a controller's groups.
    """
    quotas = [quota for folder in groups("cpu") if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def usable_cores(groups: Callable[[str], tuple[Path, ...]] = control_groups) -> Cores:
    """Count the physical cores that this process may use by its affinity mask and the quota of its control groups.

    A quota of less than two cores gives one thread: more would take turns, and all wait for the one that is held back.

    Args:
        groups: Gives the folders of a controller's groups.
    """
    logical = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    found = Cores(min(psutil.cpu_count(logical=False) or logical, logical), "the cores of this machine")
    if allowed < found.count:
        found = Cores(allowed, f"this process is bound to {allowed} of {counted(logical, 'cores')}")
    quota = cpu_quota(groups)
    if quota is not None and quota < found.count:
        found = Cores(max(1, math.floor(quota)), f"the quota of this container is worth {quota:.3g} cores")
    return found


def choose_threads(
    groups: Callable[[str], tuple[Path, ...]] = control_groups, folder: Path | None = None, before: int | None = None
) -> Cores:
    """Choose the threads of a process that computes, and let the noah processes that start later know of it.

    OMP_NUM_THREADS and MKL_NUM_THREADS are obeyed, as by torch. Otherwise processes share: one that starts beside
    others takes what they leave, but not less than an equal part. Those before it go on with what they have, because
    the number of threads may change the last digits of a result.

    Args:
        groups: Gives the folders of a controller's groups.
        folder: Where noah processes of this user on this machine make themselves known.
        before: How many the work was begun with that this process goes on with; it takes as many, so that it goes on to
            the last digit, unless it may not use so many.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        asked = os.environ.get(variable, "").split(",")[0].strip()
        if asked.isdecimal() and int(asked):
            return Cores(int(asked), f"{variable} is {int(asked)}")
    cores = usable_cores(groups)
    known = folder or _known_processes()
    _announce(known, 0)  # two that start together see each other
    others = _threads_of_others(known)
    if before is not None and before <= cores.count:
        cores = Cores(before, "as when the run began")
    elif others:
        left = max(1, cores.count - sum(others), cores.count // (len(others) + 1))
        if left < cores.count:
            sharers = "another noah process" if len(others) == 1 else f"{len(others)} other noah processes"
            cores = Cores(left, f"shared with {sharers}; alone it would be {cores.count}, {cores.reason}")
    _announce(known, cores.count)
    return cores


@contextmanager
def claimed_threads(asked: int | None) -> Iterator[None]:
    """Let other noah processes know that this one computes, until the `with` block ends.

    Args:
        asked: With how many threads, if somebody said so; None for as many as `choose_threads` chooses.
    """
    if asked is None:
        choose_threads()
    else:
        _announce(_known_processes(), asked)
    try:
        yield
    finally:
        release_threads()


def release_threads(folder: Path | None = None) -> None:
    """Let other noah processes know that this one, which goes on with other things, no longer computes.

    Args:
        folder: Where noah processes of this user on this machine make themselves known.
    """
    with suppress(OSError):
        ((folder or _known_processes()) / _name(psutil.Process())).unlink(missing_ok=True)


def _quota(folder: Path) -> float | None:
    """The quota of one group, in cores, in the files of version 2 or 1."""
    with suppress(OSError, ValueError):
        limit, period = (folder / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    with suppress(OSError, ValueError):
        limit = (folder / "cpu.cfs_quota_us").read_text()
        return None if int(limit) < 0 else int(limit) / int((folder / "cpu.cfs_period_us").read_text())
    return None


def _known_processes() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"noah-processes-{user}"


def _announce(folder: Path, threads: int) -> None:
    """Write this process's threads to a file that is named by its number and its start; it is removed at the end.

    Where no file can be written, other processes do not know of this one.
    """
    path = folder / _name(psutil.Process())
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            atexit.register(path.unlink, missing_ok=True)
        path.write_text(str(threads))


def _threads_of_others(folder: Path) -> list[int]:
    """The threads of every other noah process that runs; the files of those that were killed are removed."""
    own, found = _name(psutil.Process()), []
    for path in folder.glob("*-*"):
        if path.name == own:
            continue
        try:
            process = psutil.Process(int(path.name.split("-")[0]))
            if _name(process) != path.name:
                raise psutil.NoSuchProcess(process.pid)
            found.append(int(path.read_text() or 0))
        except (psutil.NoSuchProcess, ValueError):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        except (OSError, psutil.Error):
            continue
    return found


def _name(process: psutil.Process) -> str:
    """The number of a process and when it began, since numbers are given again."""
    return f"{process.pid}-{process.create_time():.2f}"
