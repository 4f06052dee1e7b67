"""The evolutionary search over subnets with a trained supernet (NOAH, section 3.3).

The search is a pure function of its history: candidate number i is drawn by a generator seeded with (seed, i) from the
candidates of earlier generations. A search that stops therefore goes on as if it had not, with nothing stored but the
list of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.random import Generator

from noah.candidate import Candidate, rank
from noah.published_search import mutate_depths, rank_by_age, swap_modules
from noah.racing import Outcome, Race, start_race
from noah.settings import EvolutionSettings
from noah.space import SearchSpace
from noah.subnet import Subnet

_DRAWS = 10_000
"""How many random draws may all have been seen before, until the space counts as exhausted."""
_CHANGES = 50
"""How many mutations or crossovers may all have been seen before, until a random subnet takes the place."""


def evolve(
    space: SearchSpace,
    budget: int | None,
    settings: EvolutionSettings,
    seed: Sequence[int],
    evaluate: Callable[[Subnet, Race], Outcome],
    images: int,
    history: Sequence[Candidate] = (),
) -> Iterator[Candidate]:
    """Evaluate candidates one by one, none twice, and give each new one.

    Ends after `evaluations` candidates or when every subnet of the space inside the budget was evaluated.

    Args:
        space: Where subnets come from.
        budget: Largest number of parameters, or None.
        settings: Sizes of generations and probabilities.
        seed: Words of the seed.
        evaluate: Races a subnet, see `noah.racing.run_race`.
        images: Number of validation images.
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
        top = max(settings.top, settings.parents)  # a parent that raced out would change what comes after
        complete = [candidate for candidate in rank(candidates) if candidate.outcome.complete]
        rule = "off" if settings.sampler == "published" else settings.racing  # it orders candidates in another way
        race = start_race(complete, candidates, images=images, top=top, rule=rule)
        candidate = Candidate(
            index,
            generation_of(index, settings),
            origin,
            subnet,
            subnet.parameter_count(space.embed_dim),
            evaluate(subnet, race),
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
    subnets. The best are the top `parents` of all earlier generations. The sampler "published" orders and changes
    subnets as `noah.published_search` says; "random" draws all of them at random.

    Returns:
        None if no new subnet could be found.
    """
    rng = np.random.default_rng([*seed, index])
    seen = {candidate.subnet for candidate in candidates[:index]}
    place = index % settings.population
    ordered = rank_by_age if settings.sampler == "published" else rank
    parents = [c.subnet for c in ordered(candidates[: index - place])[: settings.parents]]
    origin = "random"
    if settings.sampler == "random":
        parents = []
    if parents and place < settings.mutations:
        origin = "mutation"
    elif parents and place < settings.mutations + settings.crossovers:
        origin = "crossover"
    if origin != "random":
        for _ in range(_CHANGES):
            first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
            child = _change(origin, first, second, space, rng, budget, settings)
            if child is not None and child not in seen:
                return origin, child
    for _ in range(_DRAWS):
        child = space.sample(rng, budget)
        if child not in seen:
            return "random", child
    return None


def winner(candidates: Sequence[Candidate], settings: EvolutionSettings) -> Candidate:
    """The best candidate; the published search does not look at its last generation, unless it is the only one."""
    if settings.sampler != "published":
        return rank(candidates)[0]
    ranked = [candidate for candidate in candidates if candidate.generation < max(1, settings.generations)]
    return rank_by_age(ranked)[0]


def _change(
    origin: str,
    first: Subnet,
    second: Subnet,
    space: SearchSpace,
    rng: Generator,
    budget: int | None,
    settings: EvolutionSettings,
) -> Subnet | None:
    """A mutation of the first subnet or a crossover of both; None where the published search would draw again."""
    if settings.sampler == "published":
        if origin == "mutation":
            child = mutate_depths(space, first, rng, settings.depth_probability)
        else:
            child = swap_modules(first, second, rng)
        return child if budget is None or child.parameter_count(space.embed_dim) <= budget else None
    if origin == "crossover":
        return space.cross_over(first, second, rng, budget)
    return space.mutate(
        first,
        rng,
        gene_probability=settings.gene_probability,
        depth_probability=settings.depth_probability,
        budget=budget,
    )
