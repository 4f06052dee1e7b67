"""A subnet of a search, first proposed and then evaluated; and which candidates dominate which.

One candidate dominates another if it ranks higher (`Candidate.rank_key`) and costs no more. If accuracy is the only
objective, every cost is 0, and a candidate's place in the ranking is the number of candidates that dominate it.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noah.evaluation.accuracy import Score
from noah.files.packed import pack_images, unpack_images
from noah.nas.outcome import Outcome
from noah.space.subnet import Subnet


@dataclass(frozen=True, slots=True)
class Proposal:
    """A subnet that is to be evaluated.

    Attributes:
        index: The number of the proposal in the search, counted from 0.
        generation: The number of its generation; 0 is the random start.
        origin: How it came about: "random", "mutation", "crossover", or the sampler that suggested it.
        subnet: The subnet to evaluate.
    """

    index: int
    generation: int
    origin: str
    subnet: Subnet

    def to_json(self) -> dict[str, Any]:
        """The proposal as written to files."""
        return {
            "index": self.index,
            "generation": self.generation,
            "origin": self.origin,
            "subnet": self.subnet.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Proposal:
        """Read what `to_json` returned."""
        return cls(value["index"], value["generation"], value["origin"], Subnet.from_json(value["subnet"]))


@dataclass(frozen=True, slots=True)
class Candidate(Proposal):
    """A proposal that was evaluated.

    Attributes:
        parameters: The number of trainable parameters.
        outcome: The result on the validation images, with the supernet's weights.
        cost: The value of the second objective, which is minimized; 0 if accuracy is the only objective.
    """

    parameters: int
    outcome: Outcome
    cost: float = 0

    @property
    def failed(self) -> bool:
        """Whether it was given up because a logit is not finite."""
        return math.isinf(self.score.cross_entropy)

    @property
    def lost(self) -> bool:
        """Whether it was given up in a race."""
        return not (self.outcome.complete or self.failed)

    @property
    def score(self) -> Score:
        """Accuracy and cross-entropy on the images that it has been evaluated on."""
        return self.outcome.score

    @property
    def rank_key(self) -> tuple[bool, int, float, int]:
        """Sort the best first: by accuracy, then cross-entropy (accuracy moves in coarse steps), then age.

        Candidates that were given up come last: those that lost a race are known not to be among the best, and nothing
        is known about those whose logits are not finite.
        """
        return (not self.outcome.complete, -self.score.correct, self.score.cross_entropy, self.index)

    def to_json(self) -> dict[str, Any]:
        """The candidate as a line of candidates.jsonl; of the images that it was shown the order is not kept."""
        return {
            **Proposal.to_json(self),
            "parameters": self.parameters,
            "cost": self.cost,
            **self.score.to_json(),
            "wrong": pack_images(self.outcome.wrong),
            "shown": None if self.outcome.shown is None else pack_images(sorted(self.outcome.shown)),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Candidate:
        """Read what `to_json` gave, or that of an earlier version, which wrote plain numbers."""
        entropy = value["cross_entropy"]
        return cls(
            value["index"],
            value["generation"],
            value["origin"],
            Subnet.from_json(value["subnet"]),
            value["parameters"],
            Outcome(
                Score(value["correct"], value["total"], math.inf if entropy is None else entropy),
                unpack_images(value["wrong"]),
                None if value["shown"] is None else tuple(sorted(unpack_images(value["shown"]))),
            ),
            value.get("cost", 0),
        )


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, best first."""
    return sorted(candidates, key=lambda candidate: candidate.rank_key)


def as_good_as(best: Candidate, candidates: Sequence[Candidate]) -> int:
    """How many other candidates are known to be within one standard error of the best one's accuracy.

    The accuracy of candidates that were given up in a race is not known.
    """
    limit = best.score.accuracy - best.score.standard_error
    return sum(c.score.accuracy >= limit for c in candidates if c.outcome.complete and c.index != best.index)


def dominators(candidates: Sequence[Candidate]) -> list[tuple[Candidate, int]]:
    """Pair each candidate with the number of others that dominate it (Fonseca and Fleming, 1993), in order of `rank`.

    Candidates that were given up in a race are left out: all that is known is that many others dominate them.
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
    """The Pareto front: the candidates that no other dominates, the most accurate first."""
    return [candidate for candidate, count in dominators(candidates) if count == 0]


def select(candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The `count` candidates that the fewest others dominate, but at least the whole front; best first."""
    counted = sorted(dominators(candidates), key=lambda pair: pair[1])  # stable: better ranked first
    whole_front = sum(dominated == 0 for _, dominated in counted)
    return [candidate for candidate, _ in counted[: max(count, whole_front)]]
