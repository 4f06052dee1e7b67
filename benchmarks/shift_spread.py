"""How far trainings of the same network are apart under a shift, and what a winner's lead is on average over them.

    python -m benchmarks.shift_spread train --tasks rendered_dsprites_loc --seeds 1,2
    python -m benchmarks.shift_spread table --tasks rendered_dsprites_loc --seeds 1,2

`benchmarks.confirmation_shift` trains each network once. Here the winner of `auto`, with the finalists as teachers and
without, and lora:8 are trained several times: the images and all settings stay, and the order of the images, the first
weights and what stochastic depth leaves out change. `train` can be stopped and started again at any time; it needs the
runs of the confirmation. docs/choice/shift_spread holds a line for each training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cells import measure_or_show
from benchmarks.confirmation import FIXED, FROM_LABELS, searched
from benchmarks.confirmation_shift import SEARCHED, SOURCES
from benchmarks.pool import materials_of, train_subnet
from noah.data.sources.drawn.shifts import SHIFTS
from noah.evaluation.score import predicted_labels
from noah.files.jsonl import append_line, read_lines
from noah.progress import Silent
from noah.runs.run_subnet import chosen_subnet
from noah.runs.subnet_text import parse_subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.teaching import taught_labels

TRAININGS = 4
NETWORKS = (SEARCHED, FROM_LABELS, FIXED)


def fill(folder: Path, source: str, seed: int) -> None:
    """Train what is missing on a source, and append a line for each training as soon as it is tested."""
    path = _file(folder, source, seed)
    done = {(record["name"], record["training"]) for record in read_lines(path)}
    every = [(number, name) for number in range(1, TRAININGS + 1) for name in NETWORKS]
    missing = [(number, name) for number, name in every if (name, number) not in done]
    if not missing:
        return
    run, prepared, _ = searched(SEARCHED, source, seed)
    taught = taught_labels(run, prepared, prepared.dataset.full_train, Silent())
    assert taught is not None, run.name
    winner = chosen_subnet(run)
    materials = materials_of(source, seed)
    subnets = {SEARCHED: winner, FROM_LABELS: winner, FIXED: parse_subnet(FIXED, depth=materials.space.blocks)}
    tests = {source: materials.dataset, **{shift.name: shift.load() for shift in SHIFTS if shift.source == source}}
    pixels = {on: materials.pixels(dataset.load_test(), "test", Silent()) for on, dataset in tests.items()}
    for number, name in missing:
        soft_labels = taught.shares if name == SEARCHED else None
        subnet, images = subnets[name], materials.dataset.full_train
        model, _ = train_subnet(subnet, number, materials, images, soft_labels=soft_labels)
        accuracies = {
            on: float((predicted_labels(merged_logits(model, subnet, of, materials)) == of.labels).mean())
            for on, of in pixels.items()
        }
        precision = materials.hardware.precision
        append_line(path, {"name": name, "training": number, "precision": precision, "accuracies": accuracies})
        told = ", ".join(f"{on} {100 * accuracy:.1f}" for on, accuracy in accuracies.items())
        print(f"{path.stem} {name} {number}: {told}", flush=True)


def _file(folder: Path, source: str, seed: int) -> Path:
    return folder / "shift_spread" / f"{source}-seed{seed}.jsonl"


def table(folder: Path, sources: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table: for each source, seed and test set the mean of each network, and in brackets all its trainings.

    The lead is that of the winner as `auto` trains it over the fixed module, with the standard error of both means; it
    says nothing of other winners and teachers. Rows with a network that was not trained twice yet are left out.
    """
    lines = [f"| trained on | tested on | seed | {' | '.join(NETWORKS)} | lead |"]
    lines.append("|---|---|---:|" + "---|" * len(NETWORKS) + "---:|")
    for source, seed in ((source, seed) for source in sources for seed in seeds):
        found: dict[str, dict[str, list[float]]] = {}
        for record in read_lines(_file(folder, source, seed)):
            for on, accuracy in record["accuracies"].items():
                found.setdefault(on, {name: [] for name in NETWORKS})[record["name"]].append(100 * accuracy)
        for on, of in found.items():
            if any(len(of[name]) < 2 for name in NETWORKS):
                continue
            shown = [f"{np.mean(of[name]):.1f} ({', '.join(f'{each:.1f}' for each in of[name])})" for name in NETWORKS]
            lines.append(f"| {source} | {on} | {seed} | {' | '.join(shown)} | {_lead(of[SEARCHED], of[FIXED])} |")
    return "\n".join(lines)


def _lead(first: Sequence[float], second: Sequence[float]) -> str:
    error = np.sqrt(np.var(first, ddof=1) / len(first) + np.var(second, ddof=1) / len(second))
    return f"{np.mean(first) - np.mean(second):+.1f} ± {error:.1f}"


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table, tasks=SOURCES)
