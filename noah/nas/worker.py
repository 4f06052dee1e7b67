"""The processes that work on one search together, and how each knows that another has died."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from noah.files.process_space import process_space

BEAT_SECONDS = 5.0
"""How often a worker shows that it is alive. It does so between two looks at a few images, so it may take longer."""
LAPSE_SECONDS = 300.0
"""A worker that cannot be seen from here counts as dead after so long without a beat; no look takes that long."""
UNSIGNED_SECONDS = 10.0
"""A worker that took a candidate but has not signed it counts as dead after so long; normally it signs at once."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that evaluates candidates.

    Attributes:
        name: A name that no other worker of the search ever had.
        host: The name of its machine.
        process: Its process number on that machine.
        space: Where that number is unique (`noah.files.process_space`); empty in records of older versions.
    """

    name: str
    host: str
    process: int
    space: str = ""


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life.

    Attributes:
        worker: The worker that is alive.
        number: A number that grows with every beat.
        idle: Whether the worker has nothing to do, and would take over what others hold.
    """

    worker: Worker
    number: int
    idle: bool

    def to_json(self) -> dict[str, Any]:
        """The beat as written to files."""
        worker = asdict(self.worker)
        del worker["name"]
        return {**worker, "number": self.number, "idle": self.idle}

    @classmethod
    def from_json(cls, name: str, value: Mapping[str, Any]) -> Beat:
        """Read what `to_json` returned."""
        worker = Worker(name, value["host"], value["process"], value.get("space", ""))
        return cls(worker, value["number"], value["idle"])


def this_worker() -> Worker:
    """Make a worker with a new name for this process."""
    host = socket.gethostname()
    return Worker(f"{host}-{os.getpid()}-{secrets.token_hex(8)}", host, os.getpid(), process_space())


class Watch:
    """Tells which workers have died.

    A worker on this machine is dead if its process is gone, or if its process number is this very process's, because
    the number was reused. A worker on another machine, or in another container, counts as dead if its beats have
    stopped for `LAPSE_SECONDS` by this machine's clock; the clocks of two machines are never compared.

    Args:
        clock: Returns the time in seconds, which never goes backwards.
        alone: Whether no other process can be at work, so that all others are dead.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, alone: bool = False) -> None:
        self._clock, self._alone = clock, alone
        self._here = (socket.gethostname(), process_space())
        self._seen: dict[str, tuple[int, float]] = {}

    def has_died(self, name: str, beat: Beat | None) -> bool:
        """Whether another worker is dead, judging by its latest beat.

        Every worker beats before it takes a candidate and signs right after. A worker that never beat died before
        signing.
        """
        if self._alone:
            return True
        if beat is not None and (beat.worker.host, beat.worker.space) == self._here:
            process = beat.worker.process
            if process == os.getpid() or not _process_lives(process):
                return True
        number = beat.number if beat else -1
        known = self._seen.get(name)
        if known is None or known[0] != number:
            self._seen[name] = (number, self._clock())
            return False
        return self._clock() - known[1] > (LAPSE_SECONDS if beat else UNSIGNED_SECONDS)


def _process_lives(process: int) -> bool:
    """Whether a process runs, and has not ended and only waits for its parent to notice, as it may in a container."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it is alive, but belongs to someone else
        return True
