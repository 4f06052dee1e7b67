"""Optuna's NSGA-II and TPE as pure functions of the candidates so far.

A study in memory is told all earlier candidates and asked for the next generation, and then discarded. So these
samplers, too, continue after an interruption as if nothing had happened. A subnet is a flat mapping of named choices,
its genes, which Optuna samples, stores and displays.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection

from noah.nas.candidate import Candidate
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget
from noah.space.module_space import filled_blocks
from noah.space.operators import shrink
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet


def gene_choices(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    """Map the name of each gene to the values that it may take.

    `lora.depth` is the number of blocks that carry LoRA, and `lora.03` its width in the third block. If a module fills
    the first or the last blocks, the widths of blocks that its depth does not reach are dormant. If it may sit in any
    blocks, a width may be 0 instead, and the depth follows from the widths.
    """
    choices = {}
    for name, module in space.modules.items():
        if not module.widths:
            continue
        if space.placement != "any":
            choices[f"{name}.depth"] = module.depths
            reached = filled_blocks(space.placement, space.blocks, max(module.depths))
            choices |= {_gene(name, block): module.widths for block in reached}
        else:
            choices |= {_gene(name, block): (0, *module.widths) for block in range(space.blocks)}
    return choices


def to_genes(subnet: Subnet, space: SearchSpace) -> dict[str, int]:
    """The genes of a subnet of the space; dormant ones take the smallest width."""
    genes = {}
    for gene, choices in gene_choices(space).items():
        name, _, place = gene.partition(".")
        widths = subnet.widths(name)
        genes[gene] = sum(map(bool, widths)) if place == "depth" else widths[int(place) - 1] or min(choices)
    return genes


def from_genes(genes: Mapping[str, int], space: SearchSpace) -> Subnet:
    """Turn genes into the subnet of the space that they stand for.

    If they give a module a depth that the space does not allow, the nearest allowed one is used (the smaller of two):
    the last blocks lose the module, or the first blocks without it get its smallest width.
    """
    widths = {}
    for name, module in space.modules.items():
        row = [0] * space.blocks
        if module.widths and space.placement != "any":
            for block in filled_blocks(space.placement, space.blocks, genes[f"{name}.depth"]):
                row[block] = genes[_gene(name, block)]
        elif module.widths:
            row = [genes[_gene(name, block)] for block in range(space.blocks)]
            carrying = [block for block in range(space.blocks) if row[block]]
            free = [block for block in range(space.blocks) if not row[block]]
            depth = min(module.depths, key=lambda allowed: (abs(allowed - len(carrying)), allowed))
            for block in carrying[depth:]:
                row[block] = 0
            for block in free[: max(depth - len(carrying), 0)]:
                row[block] = min(module.widths)
        widths[name] = row
    return Subnet(**widths)


def _gene(name: str, block: int) -> str:
    return f"{name}.{block + 1:02d}"


TPE_GOOD = 25
"""TPE separates the best tenth of its trials, but at most this many, from all others; only their values matter."""
_ASKED_AGAIN = 20
"""How often a sampler is asked again if it suggests a subnet that was evaluated before."""


def suggest(
    settings: EvolutionSettings,
    candidates: Sequence[Candidate],
    space: SearchSpace,
    budget: Budget,
    seed: Sequence[int],
    count: int,
) -> list[Subnet | None]:
    """Suggest the next subnets within the budget; a suggestion that exceeds it is repaired (`shrink`).

    A suggestion that was evaluated before gets the accuracy found then, and the sampler is asked again. Candidates that
    were given up in a race count as wrong on every image: how far they fell short depends on the order of evaluations,
    and it only matters that they did.

    Args:
        settings: Gives the sampler, "nsga2" or "tpe", and the size of a generation.
        candidates: All candidates so far, in order.
        space: The search space.
        budget: What the subnets may cost.
        seed: Words of the seed.
        count: How many subnets are wanted.

    Returns:
        So many subnets, with None wherever the sampler kept suggesting known ones.
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
            subnet = shrink(space, from_genes(trial.params, space), rng, budget)
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
        return NSGAIISampler(population_size=max(settings.population, 2), seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # as optuna before 5 calls the next word
        # It knows of what it has suggested, as by default since optuna 5; else it suggests the same again and again.
        return TPESampler(n_startup_trials=settings.population, seed=seed, constant_liar=True)


def _replay(
    sampler: BaseSampler, settings: EvolutionSettings, candidates: Sequence[Candidate], space: SearchSpace
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=directions(settings), sampler=sampler)
    genes = distributions(space)
    for candidate in candidates:
        study.enqueue_trial(to_genes(candidate.subnet, space))
        trial = study.ask(genes)
        if isinstance(sampler, NSGAIISampler):  # it assigns a generation only to trials whose genes it sampled
            sampler.get_trial_generation(study, study.get_trials(deepcopy=False)[-1])
        study.tell(trial, _values(candidate, settings))
    return study


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each gene."""
    return {name: CategoricalDistribution(choices) for name, choices in gene_choices(space).items()}


def _values(candidate: Candidate, settings: EvolutionSettings) -> list[float]:
    # Accuracy moves in coarse steps; a millionth of the cross-entropy orders equally accurate candidates.
    score = candidate.score
    accuracy = score.accuracy - 1e-6 * min(score.cross_entropy, 100.0) if candidate.outcome.complete else 0.0
    return [accuracy] if settings.objective == "accuracy" else [accuracy, candidate.cost]
