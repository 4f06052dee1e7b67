"""Optuna's NSGA-II and TPE as pure functions of the candidates so far.

A study in memory is told all earlier candidates and asked for the next generation; then it is forgotten. So these
samplers, too, go on after an interruption as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection

from noah.nas.candidate import Candidate
from noah.nas.genes import from_genes, gene_choices, to_genes
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

TPE_GOOD = 25
"""TPE tells the best tenth of its trials, and at most so many, from all others; of these only the values matter."""
_ASKED_AGAIN = 20
"""How often a sampler is asked anew where it suggests a subnet that was evaluated before."""


def suggest(
    settings: EvolutionSettings,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    budget: Budget,
    seed: Sequence[int],
    count: int,
) -> list[Subnet | None]:
    """The next subnets, inside the budget: what the sampler suggests beyond it is repaired (`SearchSpace.shrink`).

    A suggestion that was evaluated before gets the accuracy found then, and the sampler is asked again. Candidates that
    were given up in a race count as right on no image: how far they fell short depends on the order of evaluations, and
    that they did is all that matters.

    Args:
        settings: Sampler "nsga2" or "tpe", and the size of a generation.
        candidates: All so far, in order.
        space: Where subnets come from.
        budget: What they may cost.
        seed: Words of the seed.
        count: How many are wanted.

    Returns:
        So many subnets; None where the sampler keeps suggesting what was there before.
    """
    rng = np.random.default_rng(seed)
    study = _replay(_sampler(settings, int(rng.integers(2**31))), settings, candidates, space)
    values = {candidate.subnet: _values(candidate, settings) for candidate in candidates}
    genes = distributions(space)
    taken: set[Subnet] = set()
    suggestions: list[Subnet | None] = []
    for _ in range(count):
        found = None
        for _ in range(_ASKED_AGAIN):
            trial = study.ask(genes)
            subnet = space.shrink(from_genes(trial.params, space), rng, budget)
            if subnet in values:
                study.tell(trial, values[subnet])
            elif subnet not in taken:
                found = subnet
                break
        if found is not None:
            taken.add(found)
        suggestions.append(found)
    return suggestions


def directions(settings: EvolutionSettings) -> list[StudyDirection]:
    """Optuna's directions of the objectives: accuracy up, cost down."""
    accuracy = [StudyDirection.MAXIMIZE]
    return accuracy if settings.objective == "accuracy" else [*accuracy, StudyDirection.MINIMIZE]


def _sampler(settings: EvolutionSettings, seed: int) -> BaseSampler:
    if settings.sampler == "nsga2":
        return NSGAIISampler(population_size=settings.population, seed=seed)
    return TPESampler(n_startup_trials=settings.population, seed=seed)


def _replay(
    sampler: BaseSampler, settings: EvolutionSettings, candidates: Sequence[Candidate], space: SearchSpace
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions(settings), sampler=sampler)
    genes = distributions(space)
    for candidate in candidates:
        study.enqueue_trial(to_genes(candidate.subnet, space))
        trial = study.ask(genes)
        if isinstance(sampler, NSGAIISampler):  # it counts a trial to a generation only where it sampled its genes
            sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[-1])
        study.tell(trial, _values(candidate, settings))
    return study


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each gene."""
    return {name: CategoricalDistribution(choices) for name, choices in gene_choices(space).items()}


def _values(candidate: Candidate, settings: EvolutionSettings) -> list[float]:
    # Accuracy moves in coarse steps; a millionth of the cross-entropy orders what is equally accurate.
    score = candidate.score
    accuracy = score.accuracy - 1e-6 * min(score.cross_entropy, 100.0) if candidate.outcome.complete else 0.0
    return [accuracy] if settings.objective == "accuracy" else [accuracy, candidate.cost]
