"""Processes of a cluster that die, alone or with their machine: how they died, and how often is too often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from noah.cluster.session import Machines
from noah.errors import NoahError

MOST_CRASHES = 3
"""What a process died of so often, while its machine lived on, is given up: it may be what kills it."""
MOST_LOSSES = 20
"""What lost its machine so often is given up, too."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process died.

    Attributes:
        lost: Whether its machine is gone, too.
        how: What happened, as a clause: "node-3 (6f21ab) is gone", or "a process died on node-3 (6f21ab)".
        hint: What to do about it.
    """

    lost: bool
    how: str
    hint: str


def explain_death(ray: Any, error: Exception, machine: str, machines: Machines) -> Death:
    """Find out how a process died.

    Args:
        ray: The module.
        error: What Ray raised in place of an answer.
        machine: Ray's name for the machine that the process was on; empty if it never said.
        machines: Those of the cluster.
    """
    alive = {each.id for each in machines.there(now=True)}
    name = machines.name(machine)
    # That of an actor Ray tells in its text alone.
    told = isinstance(error, ray.exceptions.NodeDiedError) or "node has died" in str(error)
    if told or (machine and machine not in alive):
        return Death(True, f"{name} is gone", "Look at the machine's own logs.")
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        how = f"Ray ended a process on {name} because the memory was full"
        return Death(False, how, "Let fewer run side by side: more --threads for each.")
    return Death(False, f"a process died on {name}", "Look at the logs in /tmp/ray there.")


@dataclass(slots=True)
class Deaths:
    """How often the machine that worked on one thing died, or its process alone."""

    losses: int = 0
    crashes: int = 0

    def __int__(self) -> int:
        return self.losses + self.crashes

    def count(self, death: Death) -> bool:
        """Count another; whether that was one too many."""
        if death.lost:
            self.losses += 1
            return self.losses >= MOST_LOSSES
        self.crashes += 1
        return self.crashes >= MOST_CRASHES

    def give_up(self, what: str, death: Death) -> NoahError:
        """The error that tells of the last of them.

        Args:
            what: What was given up, at the start of a sentence; "It" where its name is told beside the error.
            death: The last.
        """
        return NoahError(f"{what} was given up after {int(self)} tries: {death.how}.", death.hint)
