"""A part of the report that is not there yet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Missing:
    """What a run lacks, and what brings it.

    Args:
        problem: What is not there, in a sentence.
        commands: What to type, in this order; empty where nothing brings it.
    """

    problem: str
    commands: tuple[str, ...] = ()
