"""The published search, as a baseline: what the authors' code does, where it differs from `noah.nas.evolution`.

- Candidates are ordered by accuracy alone; of equal ones the older stays ahead.
- A mutation draws depths anew with `depth_probability`. Blocks that a deeper module reaches get a width; a width that
  stays inside the depth never changes.
- A crossover takes each module whole from one of the two parents.
- Its modules sit in the first blocks; where the space lets them sit in any, a deeper one reaches random blocks.
- The last generation is evaluated, and never ranked: the winner comes from the generations before.

Source: "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673) and the behavior of the code published with
it. Two things are not taken over: a subnet is never evaluated twice, and random subnets are drawn inside the budget at
once.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from noah.nas.candidate import Candidate
from noah.space.module_space import carrying, change_depth, place
from noah.space.search_space import SearchSpace
from noah.space.subnet import MODULES, Subnet


def rank_by_age(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates by accuracy, of equal ones the older first; those whose logits were not finite last."""
    return sorted(candidates, key=lambda each: (not each.outcome.complete, -each.score.correct, each.index))


def mutate_depths(space: SearchSpace, subnet: Subnet, rng: Generator, depth_probability: float) -> Subnet:
    """Draw each module's depth anew with this probability, and widths for the blocks that it reaches newly."""
    widths = {}
    for name in MODULES:
        module, old = space.modules[name], list(subnet.widths(name))
        if rng.random() < depth_probability:
            depth = int(rng.choice(module.depths))
            where = change_depth(space.placement, space.blocks, carrying(old), depth, rng)
            old = place([old[block] or int(rng.choice(module.widths)) for block in where], where, space.blocks)
        widths[name] = old
    return Subnet(**widths)


def swap_modules(first: Subnet, second: Subnet, rng: Generator) -> Subnet:
    """Take each module whole from one of the two."""
    parents = first, second
    return Subnet(**{name: parents[int(rng.integers(2))].widths(name) for name in MODULES})
