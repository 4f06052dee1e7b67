"""The published search, as a baseline: what the authors' code does differently from `noah.nas.evolution`.

- Candidates are ranked by accuracy alone; among equals the older one stays ahead.
- A mutation redraws depths with `depth_probability`. Blocks that a deeper module newly reaches get a width; a width
  that is still within the depth never changes.
- A crossover takes each module whole from one of the two parents.
- Its modules sit in the first blocks; if the space lets them sit in any blocks, a deeper one reaches random blocks.
- The last generation is evaluated but never ranked: the winner comes from earlier generations.

Source: "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673) and the behavior of the code published with
it. Two things are different here: a subnet is never evaluated twice, and random subnets are drawn within the budget
from the start.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.random import Generator

from noah.nas.candidate import Candidate
from noah.space.kinds import with_published
from noah.space.module_space import carrying, change_depth, place
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet


def rank_by_age(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Sort candidates by accuracy, the older first among equals, and those whose logits are not finite last."""
    return sorted(candidates, key=lambda each: (not each.outcome.complete, -each.score.correct, each.index))


def mutate_depths(space: SearchSpace, subnet: Subnet, rng: Generator, depth_probability: float) -> Subnet:
    """Redraw each module's depth with this probability, and draw widths for the blocks that it newly reaches."""
    widths = {}
    for name, module in space.modules.items():
        old = list(subnet.widths(name))
        if rng.random() < depth_probability:
            depth = int(rng.choice(module.depths))
            where = change_depth(space.placement, space.blocks, carrying(old), depth, rng)
            old = place([old[block] or int(rng.choice(module.widths)) for block in where], where, space.blocks)
        widths[name] = old
    return Subnet(**widths)


def swap_modules(first: Subnet, second: Subnet, rng: Generator) -> Subnet:
    """Take each module whole from one of the two subnets."""
    parents = first, second
    names = with_published((*first.kinds, *second.kinds))
    return Subnet(**{name: parents[int(rng.integers(2))].widths(name) for name in names})
