"""Which subnets a search looks at (NOAH, section 3.3).

The proposals of a generation are a pure function of the candidates of the generations before it: proposal number i is
drawn by a generator seeded with (seed, i). So a search that stops goes on as if it had not, and any number of workers
that know the same candidates propose the same subnets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from noah.nas.candidate import Candidate, Proposal, rank, select
from noah.nas.published_search import mutate_depths, rank_by_age, swap_modules
from noah.nas.samplers import TPE_GOOD, suggest
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget
from noah.space.operators import cross_over, mutate, sample
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

_DRAWS = 10_000
"""How many random draws may all have been seen before, until the space counts as exhausted."""
_CHANGES = 50
"""How many mutations or crossovers may all have been seen before, until a random subnet takes the place."""


def evaluations(space: SearchSpace, budget: Budget, settings: EvolutionSettings) -> int:
    """Number of candidates of a whole search; the most it can be where more than parameters are bounded."""
    return min(settings.population * (settings.generations + 1), space.size(budget.of_parameters()))


def needed_exactly(settings: EvolutionSettings) -> int:
    """How many of the best candidates have to be known for certain, so that racing changes nothing that comes after.

    These are the best that are to be found, those that are trained in the end, and those from which the sampler makes
    the next generation.
    """
    of_sampler = {"evolution": settings.parents, "nsga2": settings.population, "tpe": TPE_GOOD}
    return max(settings.top, settings.rerank, of_sampler.get(settings.sampler, 0))


def propose_generation(
    generation: int,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    budget: Budget,
    settings: EvolutionSettings,
    seed: Sequence[int],
) -> list[Proposal]:
    """The subnets of a generation, none of which was evaluated before.

    In every generation but the first, mutations of the best come first, then crossovers of two of the best, then random
    subnets. The best are the top `parents` of all earlier generations; with two objectives those that the fewest others
    dominate, at least the whole Pareto front. The sampler "published" orders and changes subnets as
    `noah.nas.published_search` says; "random" draws all of them at random; "nsga2" and "tpe" are Optuna's.

    Args:
        generation: Its number, from 0.
        candidates: All of the earlier generations.
        space: Where subnets come from.
        budget: What they may cost.
        settings: Sizes of generations and probabilities.
        seed: Words of the seed.

    Returns:
        `population` proposals, fewer in the last generation of a search that sees the whole space, or where no more new
        subnets could be found.

    Raises:
        EmptySpaceError: If the budget admits nothing.
    """
    start = generation * settings.population
    stop = min(start + settings.population, evaluations(space, budget, settings))
    seen = {candidate.subnet for candidate in candidates}
    parents = _parents(candidates, settings)
    suggestions: list[Subnet | None] = []
    if candidates and settings.sampler in ("nsga2", "tpe"):
        suggestions = suggest(settings, candidates, space, budget, [*seed, start, 1], stop - start)
    proposals = []
    for index in range(start, stop):
        rng = np.random.default_rng([*seed, index])
        origin: str
        if suggestions:
            origin, subnet = settings.sampler, suggestions[index - start]
        else:
            origin, subnet = _child(index - start, parents, seen, space, rng, budget, settings)
        if subnet is None or subnet in seen:
            origin, subnet = "random", _new_random(seen, space, rng, budget)
        if subnet is None:
            break
        seen.add(subnet)
        proposals.append(Proposal(index, generation, origin, subnet))
    return proposals


def winner(candidates: Sequence[Candidate], settings: EvolutionSettings) -> Candidate:
    """The best candidate; the published search does not look at its last generation, unless it is the only one."""
    if settings.sampler != "published":
        return rank(candidates)[0]
    ranked = [candidate for candidate in candidates if candidate.generation < max(1, settings.generations)]
    return rank_by_age(ranked)[0]


def _parents(candidates: Sequence[Candidate], settings: EvolutionSettings) -> list[Subnet]:
    match settings.sampler:
        case "random" | "nsga2" | "tpe":
            return []
        case "published":
            return [candidate.subnet for candidate in rank_by_age(candidates)[: settings.parents]]
        case _:
            return [candidate.subnet for candidate in select(candidates, settings.parents)]


def _child(
    place: int,
    parents: Sequence[Subnet],
    seen: set[Subnet],
    space: SearchSpace,
    rng: Generator,
    budget: Budget,
    settings: EvolutionSettings,
) -> tuple[str, Subnet | None]:
    """The origin of the subnet at a place of its generation, and the subnet; None where it is to be random."""
    if not parents or place >= settings.mutations + settings.crossovers:
        return "random", None
    origin = "mutation" if place < settings.mutations else "crossover"
    for _ in range(_CHANGES):
        first, second = (parents[int(rng.integers(len(parents)))] for _ in range(2))
        child = _change(origin, first, second, space, rng, budget, settings)
        if child is not None and child not in seen:
            return origin, child
    return "random", None


def _new_random(seen: set[Subnet], space: SearchSpace, rng: Generator, budget: Budget) -> Subnet | None:
    for _ in range(_DRAWS):
        child = sample(space, rng, budget)
        if child not in seen:
            return child
    return None


def _change(
    origin: str,
    first: Subnet,
    second: Subnet,
    space: SearchSpace,
    rng: Generator,
    budget: Budget,
    settings: EvolutionSettings,
) -> Subnet | None:
    """A mutation of the first subnet or a crossover of both; None where the published search would draw again."""
    if settings.sampler == "published":
        if origin == "mutation":
            child = mutate_depths(space, first, rng, settings.depth_probability)
        else:
            child = swap_modules(first, second, rng)
        return child if budget.admits(child) else None
    if origin == "crossover":
        return cross_over(space, first, second, rng, budget, module_probability=settings.module_crossover)
    return mutate(
        space,
        first,
        rng,
        gene_probability=settings.gene_probability,
        depth_probability=settings.depth_probability,
        budget=budget,
    )
