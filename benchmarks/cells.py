"""The command line of the benchmarks that fill a file for each task and seed and make a table of all."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.pool import DEVELOPMENT, FOLDER

Fill = Callable[[Path, str, int], None]
"""Takes the folder of results, a task and a seed, and measures what is missing."""
Table = Callable[[Path, Sequence[str], Sequence[int]], str]
"""Takes the folder of results, tasks and seeds, and makes a table of what is there."""


def measure_or_show(page: str | None, fill: Fill, table: Table, *, tasks: Sequence[str] = DEVELOPMENT) -> None:
    """Read the command line, and measure what is missing or show the table.

    Args:
        page: The benchmark's docstring, whose first line describes it.
        fill: Measures a task and a seed.
        table: Makes the table.
        tasks: Those of the command without --tasks.
    """
    parser = argparse.ArgumentParser(description=(page or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "table"))
    parser.add_argument("--tasks", default=",".join(tasks))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    chosen, seeds = arguments.tasks.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.do == "table":
        print(table(arguments.folder, chosen, seeds))
        return
    for seed in seeds:
        for task in chosen:
            fill(arguments.folder, task, seed)
