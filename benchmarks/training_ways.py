"""Which changes to a training pay, for any subnet alike: learning rate, regularization, averaged weights.

    python -m benchmarks.training_ways train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.training_ways table

The trainings are those of `benchmarks.pool`, with one setting changed at a time. `train` can be stopped and started
again at any time; docs/choice/training holds a line for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import measure_or_show
from benchmarks.pool import Entry, add_entry, materials_of, with_retrain
from noah.files.jsonl import read_lines
from noah.runs.subnet_text import parse_subnet

BASE = "as it is"
WAYS: Mapping[str, Mapping[str, Any]] = {
    BASE: {},
    "half the epochs": {"epochs": 7},
    "twice the epochs": {"epochs": 30},
    "learning rate x 0.5": {"learning_rate": 1e-3},
    "learning rate x 2": {"learning_rate": 4e-3},
    "learning rate x 5": {"learning_rate": 1e-2},
    "averaged over 3 epochs": {"average_epochs": 3},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "dropout 0.1": {"dropout": 0.1},
    "drop-path 0.1": {"drop_path": 0.1},
    "weight decay 0.05": {"weight_decay": 0.05},
    "drop-path 0.2": {"drop_path": 0.2},
    "drop-path 0.1, twice the epochs": {"drop_path": 0.1, "epochs": 30},
}
"""The changes to the settings of the final training."""
_SOME = (BASE, "drop-path 0.1", "drop-path 0.2")
_FASTER = (BASE, "learning rate x 2", "learning rate x 5")
SUBNETS: Mapping[str, Sequence[str]] = {
    "lora:6+bias": _SOME,
    "lora:8": tuple(WAYS),
    "bias": tuple(WAYS),
    "prompt:33": _FASTER,
    "prompt:10": _FASTER,
}
"""Subnets, and the ways that are tried with each."""


def fill(folder: Path, task: str, seed: int) -> None:
    """Train what is missing of a task and a seed, and append each as soon as it is finished."""
    path = folder / "training" / f"{task}-seed{seed}.jsonl"
    done = {Entry.from_json(record).name for record in read_lines(path)}
    materials = materials_of(task, seed, drop_path=0.0)
    for spelling, ways in SUBNETS.items():
        subnet = parse_subnet(spelling, depth=materials.space.blocks)
        for way in ways:
            name = f"{spelling}, {way}"
            if name in done:
                continue
            add_entry(path, name, 0, subnet, with_retrain(materials, WAYS[way]))


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of the gains over the training as it is, a row a way; cells that are missing are left empty."""
    cells = [(task, seed) for task in tasks for seed in seeds]
    found = {
        cell: {
            entry.name: entry.accuracy
            for record in read_lines(folder / "training" / f"{cell[0]}-seed{cell[1]}.jsonl")
            for entry in [Entry.from_json(record)]
        }
        for cell in cells
    }
    columns = [(cell, spelling) for cell in cells for spelling in SUBNETS if f"{spelling}, {BASE}" in found[cell]]
    titles = [f"{task}, seed {seed}, {spelling}" for (task, seed), spelling in columns]
    lines = [" | ".join(["| way", *titles, "mean |"]), "|---|" + "---:|" * (len(columns) + 1)]
    for way in WAYS:
        gains = [
            found[cell][f"{spelling}, {way}"] - found[cell][f"{spelling}, {BASE}"]
            if f"{spelling}, {way}" in found[cell]
            else None
            for cell, spelling in columns
        ]
        shown = ["" if gain is None else f"{gain:+.1f}" for gain in gains]
        known = [gain for gain in gains if gain is not None]
        mean = f"{np.mean(known):+.1f}" if len(known) == len(columns) else ""
        if way == BASE:
            shown, mean = [f"{found[cell][f'{spelling}, {way}']:.1f}" for cell, spelling in columns], ""
        lines.append(f"| {way} | {' | '.join(shown)} | {mean} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table)
