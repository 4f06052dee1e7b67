"""The evolutionary search over subnets with a trained supernet (NOAH, section 3.3).

The search is a pure function of its history: candidate number i is drawn by a generator seeded with (seed, i) from the
candidates of earlier generations. A search that stops therefore goes on as if it had not, with nothing stored but the
list of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from noah.evaluation import Score
from noah.settings import EvolutionSettings
from noah.space import SearchSpace
from noah.subnet import Subnet

_DRAWS = 10_000
"""How many random draws may all have been seen before, until the space counts as exhausted."""
_CHANGES = 50
"""How many mutations or crossovers may all have been seen before, until a random subnet takes the place."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An evaluated subnet.

    Args:
        index: Its number in the search, from 0.
        generation: 0 is the random start.
        origin: "random", "mutation" or "crossover".
        subnet: The subnet.
        parameters: Its trainable parameters.
        score: On the validation images, with the supernet's weights.
    """

    index: int
    generation: int
    origin: str
    subnet: Subnet
    parameters: int
    score: Score

    @property
    def rank_key(self) -> tuple[int, float, int]:
        """Sorts the best first: accuracy, then cross-entropy (accuracy moves in coarse steps), then the earlier."""
        return (-self.score.correct, self.score.cross_entropy, self.index)

    def to_json(self) -> dict[str, Any]:
        """The candidate as a line of candidates.jsonl."""
        return {
            "index": self.index,
            "generation": self.generation,
            "origin": self.origin,
            "subnet": self.subnet.to_json(),
            "parameters": self.parameters,
            **self.score.to_json(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Candidate:
        """Read what `to_json` gave."""
        return cls(
            value["index"],
            value["generation"],
            value["origin"],
            Subnet.from_json(value["subnet"]),
            value["parameters"],
            Score(value["correct"], value["total"], value["cross_entropy"]),
        )


def evolve(
    space: SearchSpace,
    budget: int | None,
    settings: EvolutionSettings,
    seed: Sequence[int],
    evaluate: Callable[[Subnet], Score],
    history: Sequence[Candidate] = (),
) -> Iterator[Candidate]:
    """Evaluate candidates one by one, none twice, and give each new one.

    Ends after `evaluations` candidates or when every subnet of the space inside the budget was evaluated.

    Args:
        space: Where subnets come from.
        budget: Largest number of parameters, or None.
        settings: Sizes of generations and probabilities.
        seed: Words of the seed.
        evaluate: Scores a subnet.
        history: Candidates of an earlier, interrupted call, in order.

    Raises:
        EmptySpaceError: If the budget admits nothing.
    """
    space.check_budget(budget)
    candidates = list(history)
    for index in range(len(candidates), evaluations(space, budget, settings)):
        proposal = propose(index, candidates, space, budget, settings, seed)
        if proposal is None:
            return
        origin, subnet = proposal
        candidate = Candidate(
            index,
            generation_of(index, settings),
            origin,
            subnet,
            subnet.parameter_count(space.embed_dim),
            evaluate(subnet),
        )
        candidates.append(candidate)
        yield candidate


def evaluations(space: SearchSpace, budget: int | None, settings: EvolutionSettings) -> int:
    """Number of candidates of a whole search."""
    return min(settings.population * (settings.generations + 1), space.size(budget))


def generation_of(index: int, settings: EvolutionSettings) -> int:
    """The generation of a candidate; each has `population` members."""
    return index // settings.population


def propose(
    index: int,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    budget: int | None,
    settings: EvolutionSettings,
    seed: Sequence[int],
) -> tuple[str, Subnet] | None:
    """The origin and the subnet of candidate `index`, which equals none before it.

    In every generation but the first, mutations of the best come first, then crossovers of two of the best, then random
    subnets. The best are the top `parents` of all earlier generations.

    Returns:
        None if no new subnet could be found.
    """
    rng = np.random.default_rng([*seed, index])
    seen = {candidate.subnet for candidate in candidates[:index]}
    place = index % settings.population
    parents = [c.subnet for c in rank(candidates[: index - place])[: settings.parents]]
    origin = "random"
    if parents and place < settings.mutations:
        origin = "mutation"
    elif parents and place < settings.mutations + settings.crossovers:
        origin = "crossover"
    if origin != "random":
        for _ in range(_CHANGES):
            first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            if origin == "mutation":
                child = space.mutate(
                    first,
                    rng,
                    gene_probability=settings.gene_probability,
                    depth_probability=settings.depth_probability,
                    budget=budget,
                )
            else:
                child = space.cross_over(first, second, rng, budget)
            if child not in seen:
                return origin, child
    for _ in range(_DRAWS):
        child = space.sample(rng, budget)
        if child not in seen:
            return "random", child
    return None


def rank(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, best first."""
    return sorted(candidates, key=lambda candidate: candidate.rank_key)


def as_good_as(best: Candidate, candidates: Sequence[Candidate]) -> int:
    """How many other candidates lie within one standard error of the best one's accuracy."""
    limit = best.score.accuracy - best.score.standard_error
    return sum(c.score.accuracy >= limit for c in candidates if c.index != best.index)
