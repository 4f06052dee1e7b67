"""What modules of different kinds know together, and whether one of them can learn it.

    python -m benchmarks.distillation train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.distillation table

In the cheap setting of `benchmarks.pool`, as a search would do it: the teachers are its finalists, trained without
the validation images. Their averaged predictions are tested as an ensemble, and students are trained on all images,
on mixtures of the labels and the ensemble's predictions; for the validation images these come from networks that never
saw them. `train` can be stopped and started again at any time; docs/choice/distillation holds a line for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import measure_or_show
from benchmarks.pool import materials_of, train_subnet
from noah.files.jsonl import append_line, read_lines
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.teaching import mixed_labels, softened

TEACHERS = ("lora:8", "lora:6+bias", "adapter:16")
STUDENT = "lora:6+bias"
MIXTURES = ((0.0, 1.0), (0.5, 2.0), (0.9, 2.0), (0.5, 4.0))
"""Shares of the ensemble's predictions, the rest being the labels', and the temperature of the predictions."""


def fill(folder: Path, task: str, seed: int) -> None:
    """Train teachers and students of a task and a seed, and append what is missing."""
    path = folder / "distillation" / f"{task}-seed{seed}.jsonl"
    done = {record["name"] for record in read_lines(path)}
    names = ["ensemble", *(_named(share, heat) for share, heat in MIXTURES)]
    if set(names) <= done:
        return
    materials = materials_of(task, seed)
    full = materials.dataset.full_train
    training = materials.pixels(full, "training", Silent())
    test = materials.pixels(materials.dataset.load_test(), "test", Silent())

    def tell(name: str, predictions: NDArray[np.float32]) -> None:
        accuracy = float((predictions.argmax(axis=1) == test.labels).mean())
        append_line(path, {"name": name, "accuracy": accuracy})
        print(f"{task} seed {seed} {name}: {100 * accuracy:.1f}", flush=True)

    logits: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    for spelling in TEACHERS:
        subnet = parse_subnet(spelling, depth=materials.space.blocks)
        model, _ = train_subnet(subnet, 0, materials, materials.dataset.train)
        on_training, on_test = (merged_logits(model, subnet, pixels, materials) for pixels in (training, test))
        logits[spelling] = on_training, on_test
        if f"teacher {spelling}" not in done:
            tell(f"teacher {spelling}", on_test)
    if "ensemble" not in done:
        tell("ensemble", np.mean([softened(on_test, 1.0) for _, on_test in logits.values()], axis=0))
    subnet = parse_subnet(STUDENT, depth=materials.space.blocks)
    for share, heat in MIXTURES:
        name = _named(share, heat)
        if name in done:
            continue
        taught = [softened(on_training, heat) for on_training, _ in logits.values()]
        mixed = mixed_labels(training.labels, taught, share)
        model, _ = train_subnet(subnet, 0, materials, full, soft_labels=mixed)
        tell(name, merged_logits(model, subnet, test, materials))


def _named(share: float, heat: float) -> str:
    return f"{STUDENT} from {share:g} at {heat:g}" if share else f"{STUDENT} from labels"


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of accuracies: a row for each network, a column for each task and seed."""
    cells = [(task, seed) for task in tasks for seed in seeds]
    found = {
        cell: {
            record["name"]: 100 * record["accuracy"]
            for record in read_lines(folder / "distillation" / f"{cell[0]}-seed{cell[1]}.jsonl")
        }
        for cell in cells
    }
    cells = [cell for cell in cells if found[cell]]
    lines = [
        f"| network | {' | '.join(f'{task}, seed {seed}' for task, seed in cells)} |",
        "|---|" + "---:|" * len(cells),
    ]
    for name in dict.fromkeys(name for cell in cells for name in found[cell]):
        shown = [f"{found[cell][name]:.1f}" if name in found[cell] else "" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table, tasks=("rendered_dsprites_loc", "shapes_count"))
