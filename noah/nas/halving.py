"""Successive halving (Jamieson and Talwalkar, 2016): many short trainings, then longer ones of the better half."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rung:
    """A round of trainings.

    Attributes:
        entrants: How many take part.
        epochs: Of the training of each.
    """

    entrants: int
    epochs: int


def plan_rungs(entrants: int, epochs: int, rungs: int) -> tuple[Rung, ...]:
    """Plan the rounds of a final: each has half as many entrants, rounded up, and twice the epochs of the one before.

    There are fewer rounds if the first would be shorter than an epoch, or if one entrant alone would be left for the
    last.

    Args:
        entrants: How many take part in the first.
        epochs: Of the last.
        rungs: How many rounds at most.
    """
    fit = min(rungs, epochs.bit_length(), max(1, (entrants - 1).bit_length()))
    return tuple(Rung(math.ceil(entrants / 2**rung), epochs // 2 ** (fit - 1 - rung)) for rung in range(fit))
