"""A search without a supernet: single modules, then mixtures of the best of them, each briefly trained on its own.

    python -m benchmarks.mixtures train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.mixtures table

In the cheap setting of `benchmarks.pool`. The first round trains every kind of module alone for two epochs on the
training images; the second adds all pairs of the best four, the third all that add one more of these kinds to the best
two pairs. Each is cut to the budget, a width of its dearest kind at a time. The best four by cross-entropy on the
validation images and the best single module are then trained for seven epochs, and the best of these wins. It is
trained on all images and tested, as the subnets of a pool are. docs/choice/mixtures holds a line for each task and
seed, with all that was tried. The whole costs about four final trainings.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.cells import measure_or_show
from benchmarks.pool import materials_of, train_entry, train_subnet
from noah.evaluation.score import score
from noah.files.jsonl import append_line, read_lines
from noah.prepare.context import Materials
from noah.progress import Silent
from noah.settings.training_settings import shortened
from noah.space.kinds import KINDS, BlockSizes, as_sizes, price
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits

WIDTHS = {"lora": 8, "adapter": 16, "lora_proj": 16, "lora_fc1": 7, "lora_fc2": 7, "bias": 1, "scale_shift": 1}
WIDTHS |= {"linear_adapter_attention": 16, "linear_adapter_mlp": 16, "adapter_plus": 15}
"""Each kind alone at about the budget's parameters; prompts are left out."""
FIRST, LAST = 2, 7
"""Epochs of the rounds, and of the final."""
BEST, FINALISTS = 4, 4

Mixture = tuple[tuple[str, int], ...]
"""Kinds with the width that they have in every block."""


def fitted(kinds: Sequence[str], sizes: BlockSizes | int, blocks: int, budget: int) -> Mixture:
    """Mix kinds at their own widths, and take from the dearest until the budget admits the mixture."""
    widths = {kind: WIDTHS[kind] for kind in KINDS if kind in kinds}

    def cost(kind: str) -> int:
        return blocks * price(kind, widths[kind], as_sizes(sizes))

    while sum(map(cost, widths)) > budget:
        dearest = max((kind for kind in widths if widths[kind] > 1), key=cost)
        widths[dearest] -= 1
    return tuple(widths.items())


def search(materials: Materials) -> tuple[Mixture, list[dict[str, object]], int]:
    """Find a mixture; give it, everything that was tried, and how many steps that took."""
    tried: dict[tuple[Mixture, int], tuple[float, float]] = {}
    taken = 0

    def measure(mixtures: Sequence[Mixture], epochs: int) -> list[Mixture]:
        """Train what has not been trained yet, and sort by cross-entropy."""
        nonlocal taken
        retrain = shortened(materials.settings.retrain, epochs)
        made = replace(materials, settings=materials.settings.model_copy(update={"retrain": retrain}))
        validation = materials.pixels(materials.dataset.validation, "validation", Silent())
        for mixture in (mixture for mixture in mixtures if (mixture, epochs) not in tried):
            subnet = subnet_of(mixture, materials)
            model, steps = train_subnet(subnet, 0, made, materials.dataset.train)
            found = score(merged_logits(model, subnet, validation, made), validation.labels)
            tried[mixture, epochs] = found.cross_entropy, found.accuracy
            taken += steps
        return sorted(mixtures, key=lambda mixture: tried[mixture, epochs][0])

    blocks, sizes = materials.space.blocks, materials.space.sizes
    budget = materials.settings.budget.parameters or 160_000

    def mix(kinds: Sequence[str]) -> Mixture:
        return fitted(kinds, sizes, blocks, budget)

    alone = measure([mix([kind]) for kind in WIDTHS], FIRST)
    best = [mixture[0][0] for mixture in alone[:BEST]]
    pairs = measure([mix(pair) for pair in itertools.combinations(best, 2)], FIRST)
    larger = [mix([*(kind for kind, _ in pair), kind]) for pair in pairs[:2] for kind in best if kind not in dict(pair)]
    ranked = measure(list(dict.fromkeys([*alone, *pairs, *larger])), FIRST)
    finalists = list(dict.fromkeys([*ranked[:FINALISTS], alone[0]]))
    (winner, *_) = measure(finalists, LAST)
    told: list[dict[str, object]] = [
        {"mixture": spelled(mixture), "epochs": epochs, "cross_entropy": entropy, "accuracy": accuracy}
        for (mixture, epochs), (entropy, accuracy) in tried.items()
    ]
    return winner, told, taken


def subnet_of(mixture: Mixture, materials: Materials) -> Subnet:
    """The subnet with these widths in every block."""
    return Subnet.uniform(materials.space.blocks, **dict(mixture))


def spelled(mixture: Mixture) -> str:
    """As one types it after --subnet."""
    return "+".join(kind if KINDS[kind].is_switch else f"{kind}:{width}" for kind, width in mixture)


def fill(folder: Path, task: str, seed: int) -> None:
    """Search for a task and a seed, test the winner, and write the line, unless it is there."""
    path = folder / "mixtures" / f"{task}-seed{seed}.jsonl"
    if read_lines(path):
        return
    began = time.monotonic()
    materials = materials_of(task, seed, drop_path=0.0)
    winner, tried, steps = search(materials)
    entry = train_entry(spelled(winner), 0, subnet_of(winner, materials), materials)
    append_line(path, {**entry.to_json(), "search_steps": steps, "tried": tried})
    share = steps / entry.steps
    seconds = time.monotonic() - began
    print(f"{task} seed {seed} {entry.name}: {entry.accuracy:.1f}, {share:.1f} trainings, {seconds:.0f} s", flush=True)


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table: a row for each task and seed."""
    lines = [
        "| task | seed | winner | parameters | accuracy | search, in final trainings |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for task, seed in itertools.product(tasks, seeds):
        for record in read_lines(folder / "mixtures" / f"{task}-seed{seed}.jsonl"):
            cost = f"{record['search_steps'] / record['steps']:.1f}"
            cells = (task, seed, record["name"], f"{record['parameters']:,}", f"{record['accuracy']:.1f}", cost)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table)
