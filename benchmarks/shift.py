"""How classifiers bear a shift, and whether modules at less than full strength bear it better.

    python -m benchmarks.shift train --modules lora:8,adapter:16 --seeds 0
    python -m benchmarks.shift table

Each module is trained on a source in the cheap setting of `benchmarks.pool` (56 px, 500 images, 15 epochs), then
tested on the source and on its shifts, with what it changes multiplied by several strengths, which a merge folds: 0
leaves the frozen backbone with the trained head, and 1 is the network as trained. `train` can be stopped and started
again at any time; docs/choice/shift holds a line for each test.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pool import FOLDER, SETTING, few_images, train_subnet
from noah.data.sources.drawn.shifts import SHIFTS
from noah.evaluation.score import score
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, prepare
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.settings.layers import Layer, recipe_layer, resolve
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits

STRENGTHS = (1.0, 0.8, 0.6, 0.4)
SOURCES = tuple(dict.fromkeys(shift.source for shift in SHIFTS))


def fill(folder: Path, source: str, seed: int, modules: Sequence[str]) -> None:
    """Train what is missing of a source and a seed, and append each test as soon as it is finished."""
    path = folder / "shift" / f"{source}-seed{seed}.jsonl"
    done = {record["module"] for record in read_lines(path)}
    values: dict[str, Any] = {**SETTING, "seed": seed, "data": {"dataset": source}}
    settings, _ = resolve([recipe_layer("pocket"), Layer(source="benchmark", values=values)])
    materials = prepare(settings, Silent())
    materials = replace(materials, dataset=few_images(materials.dataset, seed))
    tests = {source: materials.dataset, **{shift.name: shift.load() for shift in SHIFTS if shift.source == source}}
    pixels = {name: materials.pixels(dataset.load_test(), "test", Silent()) for name, dataset in tests.items()}
    for module in (module for module in modules if module not in done):
        subnet = parse_subnet(module, depth=materials.space.blocks)
        model, _ = train_subnet(subnet, 0, materials, materials.dataset.full_train)
        records = []
        for strength in STRENGTHS if subnet.kinds else STRENGTHS[:1]:
            weaker = _at_strength(model, subnet, strength, materials)
            for name, tested in pixels.items():
                found = score(merged_logits(weaker, subnet, tested, materials), tested.labels)
                records.append({"module": module, "strength": strength, "on": name, **found.to_json()})
        for record in records:
            append_line(path, record)
        shown = ", ".join(f"{r['on']} {100 * r['accuracy']:.1f}" for r in records if r["strength"] == 1)
        print(f"{source} seed {seed} {module}: {shown}", flush=True)


def _at_strength(model: Supernet, subnet: Subnet, strength: float, materials: Materials) -> Supernet:
    """The trained network with everything that modules change multiplied by a factor."""
    if not subnet.kinds:
        return model
    spelled = "+".join(f"{kind}:{strength}" for kind in subnet.kinds)
    space = materials.settings.space.model_copy(update={"strength": spelled})
    settings = materials.settings.model_copy(update={"space": space})
    weaker = build_supernet(replace(materials, settings=settings), subnet, settings.retrain)
    weaker.load_trainable_state(model.trainable_state())
    return weaker.eval()


def table(folder: Path, seeds: Sequence[int]) -> str:
    """Make a table: a row for each source, test set and module, a column for each strength, means over seeds."""
    found: dict[tuple[str, str, str], Mapping[float, list[float]]] = {}
    for source in SOURCES:
        for seed in seeds:
            for record in read_lines(folder / "shift" / f"{source}-seed{seed}.jsonl"):
                row = found.setdefault((source, record["on"], record["module"]), {s: [] for s in STRENGTHS})
                row[record["strength"]].append(100 * record["accuracy"])
    lines = [
        f"| trained on | tested on | module | {' | '.join(f'strength {s:g}' for s in STRENGTHS)} |",
        "|---|---|---|" + "---:|" * len(STRENGTHS),
    ]
    for (source, on, module), row in found.items():
        shown = [f"{np.mean(row[strength]):.1f}" if row[strength] else "" for strength in STRENGTHS]
        lines.append(f"| {source} | {on} | {module} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Train and test what is missing, or show what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "table"))
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--modules", default="lora:8,linear")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.do == "table":
        print(table(arguments.folder, seeds))
        return
    for seed in seeds:
        for source in arguments.sources.split(","):
            fill(arguments.folder, source, seed, arguments.modules.split(","))


if __name__ == "__main__":
    main()
