"""Which subnets a search tries (NOAH, section 3.3).

The proposals of a generation are a pure function of the candidates of earlier generations: proposal number i is drawn
with a generator seeded with (seed, i). So a search that was stopped continues as if it had not been, and all workers
that know the same candidates propose the same subnets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from noah.errors import SettingsError
from noah.nas.candidate import Candidate, Proposal, rank, select
from noah.nas.published_search import mutate_depths, rank_by_age, swap_modules
from noah.nas.samplers import TPE_GOOD, suggest
from noah.settings.settings import EvolutionSettings
from noah.space.baselines import LINEAR, even_mixtures, singles
from noah.space.budget import Budget
from noah.space.operators import cross_over, mutate, sample
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

SINGLE = "single module"
"""The origin of the single modules of the space."""
EVEN = "even mixture"
"""The origin of the even mixtures of its kinds."""
TYPICAL = "typical"
"""The origin of random subnets that stand for what the budget gives without a choice."""
NEVER_GIVEN_UP = (SINGLE, EVEN, TYPICAL)
"""Origins whose subnets are shown every image: a final may invite the first two, and typical ones give a mean."""
TYPICAL_SUBNETS = 8
"""How many subnets stand for the budget: their mean then lies within a third of their spread."""
_DRAWS = 10_000
"""After so many random draws in a row that were all seen before, the space counts as exhausted."""
_CHANGES = 50
"""After so many mutations or crossovers in a row that were all seen before, a random subnet is used instead."""


def evaluations(space: SearchSpace, budget: Budget, settings: EvolutionSettings) -> int:
    """The number of candidates of a whole search; an upper limit if more than parameters are bounded."""
    return min(settings.population * (settings.generations + 1), space.size(budget.of_parameters()))


def needed_exactly(settings: EvolutionSettings) -> int:
    """How many of the best candidates have to be known for certain, so that racing does not change what follows.

    These are the best ones to be found, those that are trained in the end, and those from which the sampler makes the
    next generation.
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
    """Propose the subnets of a generation, none of which has been evaluated before.

    With `settings.baselines` the search begins with the single modules and the even mixtures of the space
    (`noah.space.baselines`), as far as they fill no more than half of it, and with a few random subnets that stand for
    the budget. In every generation but the first, mutations of the best come first, then crossovers of two of the best,
    then random subnets. The best are the top `parents` of all earlier generations; with two objectives they are those
    that the fewest others dominate, but at least the whole Pareto front. The sampler "published" ranks and changes
    subnets as `noah.nas.published_search` says; "random" draws all of them at random; "nsga2" and "tpe" are Optuna's.

    Args:
        generation: The number of the generation, counted from 0.
        candidates: All candidates of earlier generations.
        space: The search space.
        budget: What the subnets may cost.
        settings: The sizes of generations, and probabilities.
        seed: Words of the seed.

    Returns:
        `population` proposals, or fewer in the last generation of a search that sees the whole space, or if no more new
        subnets could be found.

    Raises:
        EmptySpaceError: If the budget admits no subnet.
    """
    start = generation * settings.population
    stop = min(start + settings.population, evaluations(space, budget, settings))
    seen = {candidate.subnet for candidate in candidates}
    parents = _parents(candidates, settings)
    suggestions: list[Subnet | None] = []
    if candidates and settings.sampler in ("nsga2", "tpe"):
        suggestions = suggest(settings, candidates, space, budget, [*seed, start, 1], stop - start)
    baselines = _first(space, budget, settings) if settings.baselines else []
    proposals = []
    for index in range(start, stop):
        rng = np.random.default_rng([*seed, index])
        origin: str
        subnet: Subnet | None
        if index < len(baselines):
            origin, subnet = baselines[index]
        elif settings.baselines and index < len(baselines) + TYPICAL_SUBNETS:
            origin, subnet = TYPICAL, _new_random(seen, space, rng, budget)
        elif suggestions:
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
    """The best candidate; the published search ignores its last generation, unless it is the only one."""
    if settings.sampler != "published":
        return rank(candidates)[0]
    ranked = [candidate for candidate in candidates if candidate.generation < max(1, settings.generations)]
    return rank_by_age(ranked)[0]


def is_invited(origin: str, subnet: Subnet, settings: EvolutionSettings) -> bool:
    """Whether a candidate of this origin always takes part in the final: a baseline that `search.invited` names.

    Where that names none, they are the single modules.
    """
    if settings.invited is None:
        return origin == SINGLE
    return origin in (SINGLE, EVEN) and name_baseline(subnet) in settings.invited


def check_invited(space: SearchSpace, budget: Budget, settings: EvolutionSettings) -> None:
    """Refuse a final to which baselines are invited that the space or the budget does not have, or too many of them.

    Raises:
        SettingsError: If there are any; it lists those that there are. If the search is too short to see all of them.
    """
    known = [name_baseline(subnet) for _, subnet in _baselines(space, budget)] if settings.baselines else []
    missing = [name for name in settings.invited or () if name not in known]
    if missing and not settings.baselines:
        raise SettingsError(["search.invited: there are no baselines to invite"], "Add --set search.baselines=true.")
    if missing:
        raise SettingsError(
            [f"search.invited: the space has no {', '.join(missing)} inside the budget; it has {', '.join(known)}"],
            "Leave it out of search.invited, or choose another --space or --budget.",
        )
    if len(settings.invited or ()) > (most := evaluations(space, budget, settings)):
        raise SettingsError(
            [f"search.invited: a search of {most} subnets is too short for {len(settings.invited or ())} invited ones"],
            "Raise search.population or search.generations, or leave some out of search.invited.",
        )


def name_baseline(subnet: Subnet) -> str:
    """The kinds of a single module or an even mixture, joined by plus signs, or `linear`."""
    return "+".join(subnet.kinds) or LINEAR


def _first(space: SearchSpace, budget: Budget, settings: EvolutionSettings) -> list[tuple[str, Subnet]]:
    """The baselines that a search begins with: all where they are at most half of it.

    A space of many kinds has more even mixtures than a search may see subnets. Those that a final invites come first,
    as they are sure to be needed, then single modules and mixtures until half of the search is full.
    """
    everything = _baselines(space, budget)
    room = evaluations(space, budget, settings) // 2
    kept = [(origin, subnet) for origin, subnet in everything if is_invited(origin, subnet, settings)]
    others = [pair for pair in everything if pair not in kept][: max(0, room - len(kept))]
    return [*kept, *others]


def _baselines(space: SearchSpace, budget: Budget) -> list[tuple[str, Subnet]]:
    """The subnets that a search begins with, and their origins."""
    alone, even = singles(space, budget).values(), even_mixtures(space, budget).values()
    return [*((SINGLE, subnet) for subnet in alone), *((EVEN, subnet) for subnet in even)]


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
    """Make the subnet at a place in its generation; returns its origin and the subnet, or None for a random one."""
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
    """Mutate the first subnet or cross both; returns None if the published search would draw again."""
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
