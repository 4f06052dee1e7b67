"""A single try at something in a process of the cluster, and what came of it."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What became of something that was handed out.

    Attributes:
        name: Its name.
        value: What the work returned; None if it failed.
        error: Why it failed; None if it did not.
        account: The traceback of the error, or what Ray said of its process's death; empty if it succeeded or
            never ran.
        machine: The name of the machine that it ended on; empty if it never ran.
        retries: How often it was started again.
        seconds: How long its last start ran; 0 if it never came to an end.
    """

    name: str
    value: T | None = None
    error: Exception | None = None
    account: str = ""
    machine: str = ""
    retries: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a single try, as it travels to the driver.

    Attributes:
        value: What the work returned; None if it failed.
        error: Why it failed; None if it did not.
        account: The traceback of the error.
        machine: Ray's name for the machine.
        seconds: How long it took.
    """

    value: Any = None
    error: Exception | None = None
    account: str = ""
    machine: str = ""
    seconds: float = 0.0

    def outcome(self, name: str, machine: str, retries: int) -> Outcome[Any]:
        """The outcome of the thing with this name, if this was its last try, on the machine with that name."""
        return Outcome(name, self.value, self.error, self.account, machine, retries, self.seconds)


def attempt(work: Callable[[], Any]) -> Attempt:
    """Do the work in a process of Ray's; its own errors are results, so that all others are those of machines."""
    import ray

    machine = ray.get_runtime_context().get_node_id()
    started = time.monotonic()
    try:
        return Attempt(work(), machine=machine, seconds=time.monotonic() - started)
    except Exception as error:
        account = "".join(traceback.format_exception(error))
        return Attempt(None, portable(error), account, machine, time.monotonic() - started)


def portable(error: Exception) -> Exception:
    """The error itself if it can travel to the driver, and otherwise one that says the same."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):  # noqa: S301  # of our own making, a line ago
            return error
    except Exception:  # whatever its class does, what is said below can travel
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")
