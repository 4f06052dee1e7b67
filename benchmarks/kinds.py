"""Trains each kind of module on its own, at about 150,000 parameters or at its largest, beside lora:8 and adapter:16.

    python -m benchmarks.kinds train --tasks digits,shapes_count --seeds 0
    python -m benchmarks.kinds train --modules lora:6+bias,lora:4+adapter:8
    python -m benchmarks.kinds evidence --epochs 2,4
    python -m benchmarks.kinds table

The trainings are those of `benchmarks.pool`: 56 px, 500 images, 15 epochs, one thread. `train` can be stopped and
started again at any time; docs/choice/kinds holds a line for each training. `evidence` trains them for a few epochs on
the training images alone, and measures them on the validation images, as `benchmarks.evidence` does with a pool.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.evidence import add_evidence
from benchmarks.pool import DEVELOPMENT, FOLDER, Entry, add_entry, materials_of
from noah.files.jsonl import read_lines
from noah.runs.subnet_text import parse_subnet, spell_widths
from noah.space.baselines import closest_width
from noah.space.kinds import GROUPS, KINDS, PUBLISHED, BlockSizes, as_sizes

PARAMETERS = 150_000
"""What a kind with a width is brought close to."""
BASELINES = ("lora:8", "adapter:16")


def spellings(depth: int, sizes: BlockSizes | int, parameters: int = PARAMETERS) -> list[str]:
    """Spell the baselines, then every other kind and group of kinds at the width that comes closest to a number.

    Prompts are left out: `benchmarks.pool` trains them.

    Args:
        depth: Blocks of the backbone.
        sizes: Of its blocks, or the width of a plain block's tokens.
        parameters: Trainable parameters without the head.
    """
    others = {name: (name,) for name in KINDS if name not in PUBLISHED} | dict(GROUPS)
    widths = {kinds: closest_width(kinds, depth, as_sizes(sizes), parameters) for kinds in others.values()}
    return [*BASELINES, *(spell_widths(dict.fromkeys(kinds, width)) for kinds, width in widths.items() if width)]


def fill(folder: Path, task: str, seed: int, wanted: Sequence[str] | None = None) -> None:
    """Train what is missing of a task and a seed, and append each as soon as it is finished.

    Args:
        folder: Where the results are kept.
        task: One of the pocket benchmark.
        seed: Of images and training.
        wanted: Subnets as one types them; by default those of `spellings`.
    """
    path = folder / "kinds" / f"{task}-seed{seed}.jsonl"
    done = {Entry.from_json(record).name for record in read_lines(path)}
    materials = materials_of(task, seed, drop_path=0.0)
    for spelling in wanted or spellings(materials.space.blocks, materials.space.sizes):
        if spelling in done:
            continue
        add_entry(path, spelling, 0, parse_subnet(spelling, depth=materials.space.blocks), materials)


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of accuracies: a row a kind, a column a task and seed, and their mean where none is missing."""
    cells = [(task, seed) for task in tasks for seed in seeds]
    found = {
        cell: {
            entry.name: entry
            for record in read_lines(folder / "kinds" / f"{cell[0]}-seed{cell[1]}.jsonl")
            for entry in [Entry.from_json(record)]
        }
        for cell in cells
    }
    cells = [cell for cell in cells if found[cell]]
    lines = [
        " | ".join(["| module", "parameters", *(f"{task}, seed {seed}" for task, seed in cells), "mean |"]),
        "|---|" + "---:|" * (len(cells) + 2),
    ]
    for name in dict.fromkeys(name for cell in cells for name in found[cell]):
        entries = [found[cell].get(name) for cell in cells]
        parameters = next(entry.parameters for entry in entries if entry)
        shown = [f"{entry.accuracy:.1f}" if entry else "" for entry in entries]
        mean = f"{np.mean([entry.accuracy for entry in entries if entry]):.1f}" if all(entries) else ""
        lines.append(f"| {name} | {parameters:,} | {' | '.join(shown)} | {mean} |")
    return "\n".join(lines)


def main() -> None:
    """Train the missing ones, or show what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "evidence", "table"))
    parser.add_argument("--tasks", default=",".join(DEVELOPMENT))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--modules", help="other subnets to train, such as lora:6+bias,lora:4+adapter:8")
    parser.add_argument("--epochs", default="2,4", help="of the trainings without the validation images")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    tasks, seeds = arguments.tasks.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.do == "table":
        print(table(arguments.folder, tasks, seeds))
        return
    for seed in seeds:
        for task in tasks:
            if arguments.do == "train":
                fill(arguments.folder, task, seed, arguments.modules and arguments.modules.split(","))
                continue
            materials = materials_of(task, seed, drop_path=0.0)
            depth, sizes = materials.space.blocks, materials.space.sizes
            subnets = {name: parse_subnet(name, depth=depth) for name in (*spellings(depth, sizes), "linear")}
            path = arguments.folder / "kinds" / f"evidence-{task}-seed{seed}.jsonl"
            add_evidence(path, subnets, materials, [int(count) for count in arguments.epochs.split(",")])


if __name__ == "__main__":
    main()
