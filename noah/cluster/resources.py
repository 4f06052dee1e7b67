"""What a task needs of the machine that it runs on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from noah.errors import UsageError

MEMORY_STEP = 256 * 2**20
"""Bytes; memory is asked for in steps of this size, so that tasks which are nearly alike wait in one queue."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task asks for; Ray places it where so much is left, and enforces none of it.

    Attributes:
        cpus: Cores.
        gpus: GPUs: a whole number, or a fraction below 1 of one that several tasks share.
        memory: Bytes of main memory; 0 asks for none in particular.

    Raises:
        UsageError: If it is negative, or more than one GPU but not a whole number of them.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory: int = 0

    def __post_init__(self) -> None:
        if min(self.cpus, self.gpus, self.memory) < 0:
            raise UsageError("A task cannot ask for less than nothing.", "Ask for 0 or more of each resource.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(
                f"A task cannot have {self.gpus:g} GPUs.", "Ask for a part of one, such as 0.5, or for whole ones."
            )

    def options(self) -> dict[str, Any]:
        """The resources as Ray's options of a task or an actor."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory or None}

    def fit(self, machine: Mapping[str, float]) -> int:
        """How many such tasks a machine can run at once, given Ray's description of its resources."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": float(self.memory)}
        counts = [math.floor(machine.get(name, 0.0) / amount + 1e-9) for name, amount in asked.items() if amount]
        return min(counts, default=1)

    def __str__(self) -> str:
        parts = [f"{self.cpus:g} {'core' if self.cpus == 1 else 'cores'}"]
        if self.gpus:
            parts.append(f"{self.gpus:g} GPU{'s' if self.gpus > 1 else ''}")
        if self.memory:
            parts.append(f"{self.memory / 2**30:.1f} GiB of memory")
        return ", ".join(parts)


ONE_CORE = Resources()
"""What a task asks for unless it says otherwise."""


def cores_beside_gpu(machines: Iterable[Mapping[str, float]], gpus: float = 1.0) -> int:
    """The cores that everything on a GPU can have if all GPUs are to be used: the least share on any machine.

    Args:
        machines: Ray's descriptions of their resources; those without GPUs or cores do not count.
        gpus: How much of a GPU it gets.

    Returns:
        At least 1.
    """
    shares = [machine["CPU"] / machine["GPU"] for machine in machines if machine.get("GPU") and machine.get("CPU")]
    return max(1, math.floor(min(shares, default=0.0) * gpus))


def nobody_has(resources: Resources) -> str:
    """The note where no machine is large enough."""
    return (
        f"note      No machine here has {resources}; this waits until one joins that has. "
        "Otherwise press Ctrl-C, and ask for less: fewer --threads, say."
    )


def memory_for(peak: float | None) -> int:
    """Turn a forecast's peak of main memory into what to ask for: a quarter more, in steps of `MEMORY_STEP`.

    Args:
        peak: In MiB, as in `noah.prepare.forecast.Forecast`; None if it is not known.

    Returns:
        Bytes; 0 if the peak is not known.
    """
    return 0 if peak is None else math.ceil(peak * 2**20 * 1.25 / MEMORY_STEP) * MEMORY_STEP
