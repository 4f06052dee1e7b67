"""A single try at something in a process of the cluster: what came of it, and how many may die of it."""

from __future__ import annotations

import pickle
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_CRASHES = 3
"""What a process died of so often, while its machine lived on, is given up: it may be what kills it."""
MOST_LOSSES = 20
"""What lost its machine so often is given up, too."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it.

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


@dataclass(slots=True)
class Deaths:
    """How often the machine that worked on one thing died, or its process alone."""

    losses: int = 0
    crashes: int = 0

    def __int__(self) -> int:
        return self.losses + self.crashes

    def count(self, *, lost: bool) -> bool:
        """Count another; whether that was one too many.

        Args:
            lost: Whether the machine itself is gone.
        """
        if lost:
            self.losses += 1
            return self.losses >= MOST_LOSSES
        self.crashes += 1
        return self.crashes >= MOST_CRASHES


def machine_died(ray: Any, death: Exception) -> bool:
    """Whether Ray says that the machine is gone; that of an actor it tells in its text alone."""
    return isinstance(death, ray.exceptions.NodeDiedError) or "node has died" in str(death)


def how_it_died(ray: Any, death: Exception) -> tuple[str, str]:
    """What happened to a process whose machine is still there, as the end of a sentence, and what to do about it."""
    if isinstance(death, ray.exceptions.OutOfMemoryError):
        return (
            "Ray ended its process because the memory was full",
            "Let fewer run side by side: more --threads for each.",
        )
    return "its process died", "Look at the logs in /tmp/ray there."
