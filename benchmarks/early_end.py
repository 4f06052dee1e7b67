"""Whether a final training that ends early, by the loss on images that it holds out, is better than one that does not.

    python -m benchmarks.early_end train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.early_end table --tasks rendered_dsprites_loc,shapes_count --seeds 0

Single subnets are trained by `noah`'s own stage, in the cheap setting of `benchmarks.pool`: on all images; without the
tenth that is held out; and with an end as soon as the loss on these has not fallen for three epochs, which goes back to
the best epoch. `train` can be stopped and started again at any time; docs/choice/early_end holds a line for each
training.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import measure_or_show
from benchmarks.pool import Entry, materials_of, with_retrain
from noah.evaluation.score import predicted_labels
from noah.files.jsonl import append_line, read_lines
from noah.prepare.context import Materials
from noah.progress import Silent
from noah.runs.folder import create_run
from noah.runs.subnet_text import parse_subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained, retrain

SUBNETS = ("lora:8", "lora:6+bias")
WAYS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "a tenth held out": {"hold_out": 0.1},
    "an early end": {"hold_out": 0.1, "patience": 3},
    "twice the epochs, an early end": {"hold_out": 0.1, "patience": 3, "epochs": 30},
}
"""The changes to the settings of the final training."""


def fill(folder: Path, task: str, seed: int) -> None:
    """Train what is missing of a task and a seed, and append each as soon as it is finished."""
    path = folder / "early_end" / f"{task}-seed{seed}.jsonl"
    done = {Entry.from_json(record).name for record in read_lines(path)}
    materials = materials_of(task, seed)
    for spelling, way in ((spelling, way) for spelling in SUBNETS for way in WAYS):
        if (name := f"{spelling}, {way}") in done:
            continue
        began = time.monotonic()
        entry = _train(name, spelling, with_retrain(materials, WAYS[way]))
        append_line(path, entry.to_json())
        print(f"{path.stem} {name}: {entry.accuracy:.1f} in {time.monotonic() - began:.0f} s", flush=True)


def _train(name: str, spelling: str, materials: Materials) -> Entry:
    """Train a subnet in a run of its own, and test it."""
    subnet = parse_subnet(spelling, depth=materials.space.blocks)
    facts = materials.facts() | {"given": {"spelling": spelling, "subnet": subnet.to_json()}}
    with tempfile.TemporaryDirectory() as runs:
        run = create_run(
            Path(runs),
            materials.settings,
            {},
            dataset=materials.dataset.name,
            name="alone",
            facts=facts,
            choices=materials.choices,
        )
        result = retrain(run, materials, Silent())
        model, _ = load_retrained(run, materials)
    test = materials.pixels(materials.dataset.load_test(), "test", Silent())
    correct = predicted_labels(merged_logits(model, subnet, test, materials)) == test.labels
    retrain_settings = materials.settings.retrain
    epochs = result.get("early_stopping", {}).get("epochs", retrain_settings.epochs)
    steps = epochs * -(-result["images"] // retrain_settings.batch_size)
    precision = materials.hardware.precision
    return Entry(name, 0, subnet, result["parameters"], steps, precision, np.asarray(correct, bool))


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of accuracies and steps: a row a way, two columns for each subnet, task and seed."""
    found = {
        (task, seed): {entry.name: entry for entry in map(Entry.from_json, read_lines(path))}
        for task in tasks
        for seed in seeds
        if (path := folder / "early_end" / f"{task}-seed{seed}.jsonl").exists()
    }
    columns = [(cell, spelling) for cell in found for spelling in SUBNETS]
    titles = [f"{task}, seed {seed}, {spelling} | steps" for (task, seed), spelling in columns]
    lines = [" | ".join(["| way", *titles]) + " |", "|---|" + "---:|" * (2 * len(columns))]
    for way in WAYS:
        entries = [found[cell].get(f"{spelling}, {way}") for cell, spelling in columns]
        shown = [" | " if entry is None else f"{entry.accuracy:.1f} | {entry.steps}" for entry in entries]
        lines.append(f"| {way} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table)
