"""Whether the winner of a search bears a shift as well as the single module that was fixed beforehand.

    python -m benchmarks.confirmation_shift train --seeds 0,1,2
    python -m benchmarks.confirmation_shift table --seeds 0,1,2

The winners of the recipe `auto` in `benchmarks.confirmation`, and lora:8 trained with the same hyperparameters, are
tested on the images of their source and on its shifts. Where a run of the confirmation is there, nothing of it is
computed again. `train` can be stopped and started again at any time; docs/choice/confirmation_shift holds a line for
each test.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cells import measure_or_show
from benchmarks.choice import told_interval
from benchmarks.confirmation import FIXED, searched
from benchmarks.pool import materials_of, train_subnet
from noah.data.sources.drawn.shifts import SHIFTS
from noah.evaluation.score import score
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained

SEARCHED = "auto"
SOURCES = tuple(dict.fromkeys(shift.source for shift in SHIFTS))


def fill(folder: Path, source: str, seed: int) -> None:
    """Train both on a source, unless their lines are there, and append a line for each set of test images."""
    path = _file(folder, source, seed)
    done = {record["name"] for record in read_lines(path)}
    if SEARCHED not in done:
        run, materials, _ = searched(SEARCHED, source, seed)
        _add(path, SEARCHED, *load_retrained(run, materials), materials)
    if FIXED not in done:
        materials = materials_of(source, seed)
        subnet = parse_subnet(FIXED, depth=materials.space.blocks)
        model, _ = train_subnet(subnet, 0, materials, materials.dataset.full_train)
        _add(path, FIXED, model, subnet, materials)


def _add(path: Path, name: str, model: Supernet, subnet: Subnet, materials: Materials) -> None:
    source = materials.dataset.name
    tests = {source: materials.dataset, **{shift.name: shift.load() for shift in SHIFTS if shift.source == source}}
    records = []
    for on, dataset in tests.items():
        pixels = materials.pixels(dataset.load_test(), "test", Silent())
        found = score(merged_logits(model, subnet, pixels, materials), pixels.labels)
        told = {"precision": materials.hardware.precision, "subnet": subnet.to_json()}
        records.append({"name": name, "on": on, **found.to_json(), **told})
    for record in records:
        append_line(path, record)
    print(f"{path.stem} {name}: " + ", ".join(f"{r['on']} {100 * r['accuracy']:.1f}" for r in records), flush=True)


def _file(folder: Path, source: str, seed: int) -> Path:
    return folder / "confirmation_shift" / f"{source}-seed{seed}.jsonl"


def table(folder: Path, sources: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table: for each source and test set the accuracies, a row a seed, then the lead over all that have both.

    Bootstrap over sources; the targets of one count as its seeds do.
    """
    lines = [f"| trained on | tested on | seed | {SEARCHED} | {FIXED} | lead |", "|---|---|---:|---:|---:|---:|"]
    leads: dict[str, dict[str, list[float]]] = {}
    for source in sources:
        for seed in seeds:
            found: dict[str, dict[str, float]] = {}
            for record in read_lines(_file(folder, source, seed)):
                found.setdefault(record["on"], {})[record["name"]] = 100 * record["accuracy"]
            for on, of in found.items():
                if {SEARCHED, FIXED} <= of.keys():
                    lead = of[SEARCHED] - of[FIXED]
                    leads.setdefault(source, {}).setdefault(on, []).append(lead)
                    lines.append(f"| {source} | {on} | {seed} | {of[SEARCHED]:.1f} | {of[FIXED]:.1f} | {lead:+.1f} |")
    lines += ["", "| tested on | lead, mean over seeds |", "|---|---:|"]
    targets = {on: values for source, of in leads.items() for on, values in of.items() if on != source}
    lines += [f"| {on} | {np.mean(values):+.1f} |" for on, values in targets.items()]
    shifted = {source: [v for on, values in of.items() if on != source for v in values] for source, of in leads.items()}
    if shifted:
        mean, ends = told_interval(shifted, "+.1f")
        lines.append(f"| mean over sources{ends and f' (95 %: {ends})'} | {mean} |")
        lines.append(f"| mean over targets | {np.mean([np.mean(values) for values in targets.values()]):+.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table, tasks=SOURCES)
