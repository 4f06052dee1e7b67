"""Which candidates are beaten by which, with one objective or with two.

One candidate dominates another if it ranks before it (`Candidate.rank_key`) and costs no more. Where accuracy is the
only objective every cost is 0, and the number of candidates that dominate one is its place in the ranking.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

from noah.nas.candidate import Candidate, rank


def dominators(candidates: Sequence[Candidate]) -> list[tuple[Candidate, int]]:
    """Each candidate with the number of those that dominate it (Fonseca and Fleming, 1993), in the order of `rank`.

    Those that were given up in a race are left out: only that many others dominate them is known.
    """
    costs: list[float] = []
    counted = []
    for candidate in rank(candidates):
        if not candidate.outcome.complete:
            break
        counted.append((candidate, bisect_right(costs, candidate.cost)))
        insort(costs, candidate.cost)
    return counted


def front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The Pareto front: what nothing dominates, the most accurate first."""
    return [candidate for candidate, count in dominators(candidates) if count == 0]


def select(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The `count` candidates that the fewest others dominate, and the whole front where that is more; best first."""
    counted = sorted(dominators(candidates), key=lambda pair: pair[1])  # stable: of equal ones the better ranked first
    whole_front = sum(dominated == 0 for _, dominated in counted)
    return [candidate for candidate, _ in counted[: max(count, whole_front)]]
