"""Which subnets a step of the supernet's training uses: pure functions, so a training can be resumed at any point."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from noah.settings.training_settings import SupernetSettings
from noah.space.module_space import ModuleSpace, filled_blocks, place
from noah.space.operators import sample
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

SubnetDraw = Callable[[int, Generator], Sequence[Subnet]]
"""Takes the number of the step, counted from 0 over the whole training, and the epoch's generator, and returns the
subnets of the step, at least one. The first learns the labels, the others learn from the first
(`noah.training.loss`)."""

_FAIR = 0
"""The seed's word after the stage's; epochs have a word above 0 there, so they never share random numbers."""


def draw_subnets(
    space: SearchSpace, settings: SupernetSettings, seed: tuple[int, ...], step: int, rng: Generator
) -> tuple[Subnet, ...]:
    """Draw the subnets of one step of the supernet's training.

    - uniform: one subnet, drawn by `noah.space.operators.sample` with the epoch's generator (NOAH, section 3.3).
    - fair: one subnet, drawn by `fair_subnet` with the number of the step, so cycles continue across epochs.
    - sandwich: the largest, the smallest and `sandwich_random` others (Yu and Huang, 2019, "Universally slimmable
      networks and improved training techniques"). The others are fair draws too, numbered across the steps.

    Args:
        space: The search space to draw from.
        settings: Says which of the three ways is used.
        seed: Words of the training's seed.
        step: The number of the step, counted from 0 over the whole training.
        rng: The epoch's generator; only uniform draws from it.
    """
    match settings.sampling:
        case "uniform":
            return (sample(space, rng),)
        case "fair":
            return (fair_subnet(space, seed, step),)
        case "sandwich":
            count = settings.sandwich_random
            others = (fair_subnet(space, seed, step * count + position) for position in range(count))
            return (space.largest, space.smallest, *others)


def fair_subnet(space: SearchSpace, seed: tuple[int, ...], number: int) -> Subnet:
    """Draw subnet `number` of an endless sequence in which all choices take turns equally, in random order.

    A module with d depths and w widths has cycles of d w draws: each of its depths occurs w times, and in these w draws
    each block that the depth reaches takes each of the w widths once. So in every cycle, for every block, each pair of
    a width and a depth that reaches the block occurs exactly once. Each depth therefore occurs equally often, and so
    does each width among the draws that reach the block. No shorter cycle can do that: the last block that is reached
    at all is reached only by the largest depth, in one of d draws, and w has to divide the number of these draws.

    Where modules fill the last blocks, the same holds with the blocks counted from the end. Where they may sit in any
    blocks, widths are drawn as if for the first ones and then put, in their order, into random blocks; each depth, and
    each width regardless of the block, still takes its turn exactly.

    The order of the draws and of the widths in each block are independent random permutations, drawn for each cycle and
    module, so a single draw has the distribution of `noah.space.operators.sample`. Giving every choice an equal share
    of the training is the idea of FairNAS (Chu, Zhang and Xu, 2021), which trains all of them before each step of the
    optimizer; here they take turns over the steps.

    Args:
        space: The search space to draw from.
        seed: Words of the training's seed; together with `number` they determine the draw.
        number: The position in the sequence, counted from 0.
    """
    drawn = {}
    for position, (name, module) in enumerate(space.modules.items()):
        cycle, turn = divmod(number, _module_cycle(module))
        rng = np.random.default_rng([*seed, _FAIR, 1 + position, 1 + cycle])  # NumPy ignores a last word of 0
        widths = _fair_widths(module, rng, turn)
        where = filled_blocks(space.placement, space.blocks, len(widths))
        if space.placement == "any":
            blocks = rng.permuted(np.tile(np.arange(space.blocks), (_module_cycle(module), 1)), axis=1)[turn]
            where = sorted(blocks[: len(widths)].tolist())
        elif space.placement == "last":
            widths.reverse()
        drawn[name] = place(widths, where, space.blocks)
    return Subnet(**drawn)


def cycle_length(space: SearchSpace) -> int:
    """The number of fair draws after which all modules complete a cycle at the same time."""
    return math.lcm(*(_module_cycle(module) for module in space.modules.values()))


def _module_cycle(module: ModuleSpace) -> int:
    return len(module.depths) * len(module.widths) if module.widths else 1


def _fair_widths(module: ModuleSpace, rng: Generator, turn: int) -> list[int]:
    """The widths, block by block, for one turn of the cycle that `rng` determines."""
    if not module.widths:
        return []
    order = rng.permutation(_module_cycle(module))
    depth, column = divmod(int(order[turn]), len(module.widths))
    table = np.tile(np.array(module.widths), (len(module.depths), max(module.depths), 1))
    widths: list[int] = rng.permuted(table, axis=-1)[depth, : module.depths[depth], column].tolist()
    return widths
