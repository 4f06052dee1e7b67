"""Whether learning rates should compete in a final, beside what is trained: would it choose better?

    python -m benchmarks.rates train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.rates table --tasks rendered_dsprites_loc,shapes_count --seeds 0

The plain finalists of the recipe `auto` are trained at half, once and twice its learning rate: without the validation
images, which is what a final compares them by, and with them, which is what the choice is worth. A final of three
takes the planned rate; one of nine takes every rate, and three times as many trainings. `train` can be stopped and
started again at any time; docs/choice/rates holds a line for each training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import measure_or_show
from benchmarks.evidence import Evidence, add_evidence
from benchmarks.pool import Entry, add_entry, materials_of, with_retrain
from noah.files.jsonl import read_lines
from noah.runs.subnet_text import parse_subnet

FINALISTS = ("lora:8", "lora:6+bias", "adapter:16")
RATES = (0.5, 1.0, 2.0)


def _name(finalist: str, rate: float) -> str:
    return f"{finalist}, rate x {rate:g}"


def _files(folder: Path, task: str, seed: int) -> tuple[Path, Path]:
    """Where trainings with the validation images are kept, and those without."""
    return folder / "rates" / f"{task}-seed{seed}.jsonl", folder / "rates" / f"evidence-{task}-seed{seed}.jsonl"


def fill(folder: Path, task: str, seed: int) -> None:
    """Train what is missing of a task and a seed, and append each as soon as it is finished."""
    tested, seen = _files(folder, task, seed)
    done = {Entry.from_json(record).name for record in read_lines(tested)}
    planned = materials_of(task, seed)
    for rate in RATES:
        materials = with_retrain(planned, {"learning_rate": rate * planned.settings.retrain.learning_rate})
        subnets = {_name(each, rate): parse_subnet(each, depth=materials.space.blocks) for each in FINALISTS}
        add_evidence(seen, subnets, materials, [materials.settings.retrain.epochs])
        for name, subnet in subnets.items():
            if name not in done:
                add_entry(tested, name, 0, subnet, materials)


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of what each final chooses by calibrated cross-entropy, and its accuracy; a row a task and seed."""
    everything = [_name(finalist, rate) for finalist in FINALISTS for rate in RATES]
    finals = {"at the planned rate": [_name(finalist, 1.0) for finalist in FINALISTS], "at every rate": everything}
    lines = [f"| task | seed | {' | '.join(f'chosen {way} | accuracy' for way in finals)} | best of all | accuracy |"]
    lines.append("|---|---:|" + "---|---:|" * (len(finals) + 1))
    for task, seed in ((task, seed) for task in tasks for seed in seeds):
        tested, seen = _files(folder, task, seed)
        accuracy = {entry.name: entry.accuracy for entry in map(Entry.from_json, read_lines(tested))}
        evidence = [Evidence(**record) for record in read_lines(seen)]
        entropy = {each.name: each.calibrated for each in evidence if each.calibrated is not None}
        if not set(everything) <= accuracy.keys() & entropy.keys():
            continue
        chosen = [min(names, key=entropy.__getitem__) for names in finals.values()]
        chosen.append(max(everything, key=accuracy.__getitem__))
        lines.append(f"| {task} | {seed} | {' | '.join(f'{name} | {accuracy[name]:.1f}' for name in chosen)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table)
