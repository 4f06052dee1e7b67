"""Judges how good a choice of a subnet is, against a pool of subnets that were each trained on their own.

    python -m benchmarks.choice train --tasks digits,shapes_count --seeds 0,1
    python -m benchmarks.choice evidence --epochs 2,4,15
    python -m benchmarks.choice supernet
    python -m benchmarks.choice judge
    python -m benchmarks.choice pools
    python -m benchmarks.choice oracle

`train` fills docs/choice/pool: for each task and seed, random subnets within the budget and single modules of about the
same size, all trained alike in a cheap setting (56 px, 500 images, 15 epochs), tested, and written one per line.
It can be stopped and started again at any time. A few subnets are trained a second time with another seed, which shows
how reliable the pool itself is.

`evidence` trains every subnet of the pools on just the 400 training images, for a few epochs or for all, and measures
it on the 100 validation images. With all epochs that is what an oracle that trains every candidate would choose by.

`supernet` trains a supernet of the space on the training images, for as many epochs as a final training, and scores the
subnets by its weights on the validation images: by accuracy, by cross-entropy, by that at the temperature that fits
best, and by what `noah.nas.surrogate` makes of the cross-entropies of the pool's and of 60 other random subnets. Then
it trains one on each half of all images, in as many steps as one on both, and scores the subnets on the other half, so
that every image is evidence.

A method of choosing is anything that scores the subnets of a pool. `judge` takes the evidence of each number of epochs
as one, and reads docs/choice/scores, where each file holds one method's scores for one pool. It says how well the
choices did; that takes seconds, as nothing is trained. `pools` shows how the single modules do among random subnets,
and `oracle` what one gains over lora:8 who trains all of a pool, or its four best kinds, and sees a few test images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.steps import best_precision
from benchmarks.supernets import pocket_settings
from noah.data.dataset import Dataset
from noah.data.split import Split, select
from noah.evaluation.score import Logits, predicted_labels, score
from noah.evaluation.temperature import fit_temperature
from noah.files.atomic import write_json
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet
from noah.nas.surrogate import fit_posterior
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, prepare, seed_torch
from noah.prepare.first_blocks import choose_blocks, keep_first_blocks
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.settings.training_settings import shortened
from noah.space.budget import parameter_budget
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.loop import train
from noah.training.subnet_draws import draw_subnets

DEVELOPMENT = ("digits", "rendered_dsprites_loc", "shapes_count")
"""Tasks on which ideas about choosing may be tried; they have to be confirmed on others."""
RANDOM = 10
"""Number of random subnets in a pool."""
SINGLES = ("lora:8", "lora:6+bias", "adapter:16", "bias", "prompt:33", "linear")
"""Single modules with about the budget's 160,000 parameters on ViT-S, none at all, and an even mixture."""
REPEATED = 4
"""Number of random subnets that are trained twice."""
TRAINED, VALIDATED = 400, 100
"""Training and validation images of the cheap setting; a final training takes both."""
SETTING: Mapping[str, Any] = {
    "backbone": {"image_size": 56},
    "space": {"preset": "mixed"},
    "retrain": {"epochs": 15},
    "hardware": {"threads": 1, "precision": best_precision(torch.device("cpu"))},
}
FOLDER = Path("docs/choice")
SEEN = (100, 200, 400)
"""How many test images an oracle sees; the validation images of the cheap setting are as many as the first."""
_ORACLES = ("all subnets", "four plain ones")
OTHERS = 60
"""Random subnets beside those of a pool that a supernet is asked about, as many as a search of the pocket recipe."""
MEASURES = ("accuracy", "cross-entropy", "calibrated cross-entropy")
CROSS_FITTED = "two supernets, cross-fitted cross-entropy"
"""A score by all images, at the cost in steps of one supernet."""
_SUBSET, _POOL, _TRAINING, _SUPERNET, _HALVES = 11, 12, 13, 14, 15
"""Constants that keep the random streams apart."""

Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Entry:
    """A subnet of a pool after a training of its own.

    Attributes:
        name: "random 3", or a single module as it is typed.
        repeat: 0, or 1 for a second training with another seed.
        subnet: Its widths.
        parameters: Trainable parameters without the head.
        steps: Optimizer steps of the training.
        precision: "bf16" on processors that have instructions for it, as they are twice as fast, and "fp32" on others.
        correct: Whether each test image was classified correctly; bool (n,).
    """

    name: str
    repeat: int
    subnet: Subnet
    parameters: int
    steps: int
    precision: str
    correct: Bits

    @property
    def accuracy(self) -> float:
        """Accuracy on the test images, in percent."""
        return 100 * float(self.correct.mean())

    def to_json(self) -> dict[str, Any]:
        """Give the entry as a line of a pool's file, with the bits as hexadecimal digits."""
        return {
            "name": self.name,
            "repeat": self.repeat,
            "subnet": self.subnet.to_json(),
            "parameters": self.parameters,
            "steps": self.steps,
            "precision": self.precision,
            "accuracy": round(self.accuracy, 2),
            "images": len(self.correct),
            "correct": np.packbits(self.correct).tobytes().hex(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Entry:
        """Read the result of `to_json`."""
        packed = np.frombuffer(bytes.fromhex(value["correct"]), np.uint8)
        return cls(
            value["name"],
            value["repeat"],
            Subnet.from_json(value["subnet"]),
            value["parameters"],
            value["steps"],
            value["precision"],
            np.unpackbits(packed, count=value["images"]).astype(bool),
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """A subnet of a pool after a training without the validation images.

    Attributes:
        name: As in the pool.
        epochs: Of the training, whose learning rate falls within them.
        accuracy: On the validation images, 0..1.
        cross_entropy: On the validation images, in nats.
        calibrated: The same once logits are divided by the temperature that these images ask for, so that it does not
            matter how sure of itself the network is; None in older lines.
    """

    name: str
    epochs: int
    accuracy: float
    cross_entropy: float
    calibrated: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one choice did.

    Attributes:
        percentile: Share of the pool's other random subnets that the chosen one beats, in percent; ties count half,
            and 50 is chance.
        regret: Percentage points of accuracy below the pool's best random subnet.
        tau: Kendall's tau-b between scores and accuracies of the random subnets.
        over_single: Percentage points of accuracy above each single module.
    """

    percentile: float
    regret: float
    tau: float
    over_single: Mapping[str, float]


def percentile(chosen: float, others: Sequence[float]) -> float:
    """Give the share of other accuracies that an accuracy beats, in percent; equal ones count half.

    Raises:
        ValueError: If there are no others.
    """
    if not others:
        raise ValueError("a percentile needs others to compare with")
    values = np.asarray(others)
    return 100 * float(np.mean((values < chosen) + 0.5 * (values == chosen)))


def judge(scores: Mapping[str, float], pool: Sequence[Entry]) -> Verdict:
    """Judge the choice of the highest score among a pool's random subnets; among equal scores, the first is chosen.

    Args:
        scores: Score of each entry by name; single modules are ignored.
        pool: First trainings of all entries.

    Raises:
        ValueError: If a random subnet has no score, or there are fewer than two.
    """
    drawn = [entry for entry in pool if is_random(entry) and entry.repeat == 0]
    singles = [entry for entry in pool if not is_random(entry) and entry.repeat == 0]
    if missing := [entry.name for entry in drawn if entry.name not in scores]:
        raise ValueError(f"no score for {', '.join(missing)}")
    given = [scores[entry.name] for entry in drawn]
    place = int(np.argmax(given))
    others = [entry.accuracy for index, entry in enumerate(drawn) if index != place]
    accuracy = drawn[place].accuracy
    return Verdict(
        percentile(accuracy, others),
        max([accuracy, *others]) - accuracy,
        float(kendalltau(given, [entry.accuracy for entry in drawn]).statistic),
        {entry.name: accuracy - entry.accuracy for entry in singles},
    )


def ceiling_of_test(pool: Sequence[Entry], rounds: int = 200, seed: int = 0) -> float:
    """Find the percentile of a choice by half of the test images, judged by the other half: the best they allow."""
    drawn = [entry for entry in pool if is_random(entry) and entry.repeat == 0]
    correct = np.stack([entry.correct for entry in drawn])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        order = rng.permutation(correct.shape[1])
        first, second = np.array_split(order, 2)
        place = int(np.argmax(correct[:, first].mean(axis=1)))
        accuracies = correct[:, second].mean(axis=1)
        found.append(percentile(accuracies[place], np.delete(accuracies, place).tolist()))
    return float(np.mean(found))


def ceiling_of_training(pool: Sequence[Entry]) -> float | None:
    """Find the percentile of a choice by a second training of the same subnets; None if fewer than two have one."""
    again = {entry.name: entry.accuracy for entry in pool if entry.repeat == 1}
    first = [entry for entry in pool if entry.repeat == 0 and entry.name in again]
    if len(first) < 2:
        return None
    return judge(again, first).percentile


def oracle_lead(pool: Sequence[Entry], images: int, fixed: str, rounds: int = 400, seed: int = 0) -> float:
    """Find what an oracle gains that trains every subnet of a pool, and sees some images that nothing was trained on.

    So many test images are drawn; the oracle takes the subnet that is right on most of them, by lot among equal ones,
    and is judged by the other test images.

    Args:
        pool: First trainings; all are candidates.
        images: How many test images the oracle sees.
        fixed: The entry that it is compared with.
        rounds: How often images are drawn.
        seed: Of the draws.

    Returns:
        Percentage points of accuracy above the fixed entry, on average over the rounds.
    """
    correct = np.stack([entry.correct for entry in pool])
    place = [entry.name for entry in pool].index(fixed)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        order = rng.permutation(correct.shape[1])
        right = correct[:, order[:images]].sum(axis=1)
        chosen = rng.choice(np.flatnonzero(right == right.max()))
        others = correct[:, order[images:]].mean(axis=1)
        found.append(100 * float(others[chosen] - others[place]))
    return float(np.mean(found))


def interval(values: Mapping[str, Sequence[float]], rounds: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Compute the mean over tasks, and its 95 % interval by a bootstrap over tasks and, within each, over seeds.

    Args:
        values: For each task, a value for each seed.
        rounds: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Mean, lower and upper end.
    """
    tasks = [np.asarray(of_task, dtype=float) for of_task in values.values()]
    rng = np.random.default_rng(seed)
    means = [
        np.mean(
            [rng.choice(tasks[index], len(tasks[index])).mean() for index in rng.integers(len(tasks), size=len(tasks))]
        )
        for _ in range(rounds)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([of_task.mean() for of_task in tasks])), float(low), float(high)


def is_random(entry: Entry) -> bool:
    """Whether the entry is a random subnet rather than a single module."""
    return entry.name.startswith("random ")


def read_pool(folder: Path, task: str, seed: int) -> list[Entry]:
    """Read the finished entries, in the order in which they were trained; an incomplete last line is ignored."""
    return [Entry.from_json(record) for record in read_lines(pool_file(folder, task, seed))]


def pool_file(folder: Path, task: str, seed: int) -> Path:
    """Where the entries of a pool are kept, a line each."""
    return folder / "pool" / f"{task}-seed{seed}.jsonl"


def evidence_file(folder: Path, task: str, seed: int) -> Path:
    """Where the evidence on a pool is kept, a line each."""
    return folder / "evidence" / f"{task}-seed{seed}.jsonl"


def materials_of(task: str, seed: int, drop_path: float = 0.1) -> Materials:
    """Prepare a task in the cheap setting, with a rate of stochastic depth in the last block."""
    settings, _ = pocket_settings(task, {"seed": seed, **SETTING})
    retrain = settings.retrain.model_copy(update={"drop_path": drop_path})
    settings = settings.model_copy(update={"retrain": retrain})
    materials = prepare(settings, Silent())
    return replace(materials, dataset=few_images(materials.dataset, seed))


def fill_pool(folder: Path, task: str, seed: int) -> None:
    """Train what a pool lacks, one entry after another, and append each as soon as it is finished."""
    done = read_pool(folder, task, seed)
    materials = materials_of(task, seed)
    for name, repeat, subnet in wanted(materials):
        if any((entry.name, entry.repeat) == (name, repeat) for entry in done):
            continue
        add_entry(pool_file(folder, task, seed), name, repeat, subnet, materials)


def add_entry(path: Path, name: str, repeat: int, subnet: Subnet, materials: Materials) -> None:
    """Train and test a subnet, append its entry to a file that is named by task and seed, and say so."""
    began = time.monotonic()
    entry = train_entry(name, repeat, subnet, materials)
    append_line(path, entry.to_json())
    print(f"{path.stem} {name}: {entry.accuracy:.1f} in {time.monotonic() - began:.0f} s", flush=True)


def find_evidence(folder: Path, task: str, seed: int, epochs: Sequence[int]) -> None:
    """Train the subnets of a pool without the validation images, for each number of epochs, and append the results."""
    materials = materials_of(task, seed)
    subnets = {name: subnet for name, repeat, subnet in wanted(materials) if not repeat}
    add_evidence(evidence_file(folder, task, seed), subnets, materials, epochs)


def add_evidence(path: Path, subnets: Mapping[str, Subnet], materials: Materials, epochs: Sequence[int]) -> None:
    """Train subnets without the validation images, and append the evidence that a file lacks.

    Args:
        path: The file.
        subnets: By name.
        materials: Gives task, seed and settings.
        epochs: Of the trainings, all subnets for one number after the other.
    """
    done = {(record["name"], record["epochs"]) for record in read_lines(path)}
    train_split, validation = materials.dataset.train, materials.dataset.validation
    for name, count in [(name, count) for count in epochs for name in subnets if (name, count) not in done]:
        began = time.monotonic()
        retrain = shortened(materials.settings.retrain, count)
        settings = materials.settings.model_copy(update={"retrain": retrain})
        logits, labels, _ = _train(subnets[name], 0, replace(materials, settings=settings), train_split, validation)
        found = score(logits, labels)
        append_line(
            path, asdict(Evidence(name, count, found.accuracy, found.cross_entropy, _calibrated(logits, labels)))
        )
        told = f"{path.stem} {name}, {count} epochs: {found.cross_entropy:.3f}"
        print(f"{told} in {time.monotonic() - began:.0f} s", flush=True)


def _calibrated(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Cross-entropy at the temperature that fits best."""
    return fit_temperature(logits, labels, "the validation images").cross_entropy[1]


def score_by_supernet(folder: Path, task: str, seed: int) -> None:
    """Train supernets, score the random subnets of a pool by their weights in each way, and write the scores."""
    paths = {
        way: folder / "scores" / f"{way.replace(', ', '-').replace(' ', '-')}-{task}-seed{seed}.json"
        for way in (*(f"supernet, {measure}" for measure in MEASURES), "supernet, pooled cross-entropy", CROSS_FITTED)
    }
    if all(path.exists() for path in paths.values()):
        return
    materials = materials_of(task, seed)
    entries = {name: subnet for name, repeat, subnet in wanted(materials) if not repeat and name.startswith("random ")}

    def write(way: str, values: Sequence[float]) -> None:
        scores = dict(zip(entries, map(float, values), strict=False))  # subnets beside those of the pool only helped
        write_json(paths[way], {"method": way, "task": task, "seed": seed, "scores": scores})
        print(f"{task} seed {seed} {way}: {time.monotonic() - began:.0f} s", flush=True)

    began = time.monotonic()
    if not all(path.exists() for way, path in paths.items() if way != CROSS_FITTED):
        rng = np.random.default_rng([seed, _SUPERNET])
        budget = parameter_budget(materials.settings.budget.parameters, materials.space.sizes)
        subnets = [*entries.values(), *(sample(materials.space, rng, budget) for _ in range(OTHERS))]
        found = _supernet_logits(materials, materials.dataset.train, materials.dataset.validation, subnets)
        scored = [score(logits, labels) for logits, labels in found]
        entropies = [each.cross_entropy for each in scored]
        cooled = [_calibrated(logits, labels) for logits, labels in found]
        write("supernet, accuracy", [each.accuracy for each in scored])
        write("supernet, cross-entropy", [-entropy for entropy in entropies])
        write("supernet, calibrated cross-entropy", [-entropy for entropy in cooled])
        write("supernet, pooled cross-entropy", (-fit_posterior(subnets, entropies).mean).tolist())
    began = time.monotonic()
    if not paths[CROSS_FITTED].exists():
        images = materials.dataset.full_train
        halves = np.array_split(np.random.default_rng([seed, _HALVES]).permutation(len(images)), 2)
        first, second = (select(images, np.sort(half)) for half in halves)
        subnets = list(entries.values())
        both = [_supernet_logits(materials, *of_half, subnets) for of_half in ((first, second), (second, first))]
        pairs = zip(*both, strict=True)
        write(CROSS_FITTED, [-score(*map(np.concatenate, zip(*pair, strict=True))).cross_entropy for pair in pairs])


def _supernet_logits(
    materials: Materials, split: Split, measured: Split, subnets: Sequence[Subnet]
) -> list[tuple[Logits, NDArray[np.int64]]]:
    """Train a supernet on images, and give the logits and labels of others for each subnet with its weights."""
    settings = materials.settings.supernet.model_copy(
        update={"epochs": materials.settings.retrain.epochs, "warmup_epochs": materials.settings.retrain.warmup_epochs}
    )
    seed = (materials.settings.seed, _SUPERNET)
    seed_torch(*seed)
    supernet = build_supernet(materials, materials.space.largest, settings)
    with tempfile.TemporaryDirectory() as temporary, Silent().bar("", settings.epochs, "epochs") as bar:
        train(
            supernet,
            materials.pixels(split, "training", Silent()),
            materials.backbone.preprocessing,
            partial(draw_subnets, materials.space, settings, seed),
            settings,
            materials.hardware,
            seed=seed,
            checkpoint=Path(temporary, "checkpoint"),
            bar=bar,
            say=print,
        )
    pixels = materials.pixels(measured, "validation", Silent())
    supernet.eval()
    return [(merged_logits(supernet, subnet, pixels, materials), pixels.labels) for subnet in subnets]


def wanted(materials: Materials) -> Iterator[tuple[str, int, Subnet]]:
    """Yield the name, the number of the training, and the subnet of every entry of a pool, single modules first."""
    depth, width = materials.space.blocks, materials.space.embed_dim
    for spelling in SINGLES:
        yield spelling, 0, parse_subnet(spelling, depth=depth)
    rng = np.random.default_rng([materials.settings.seed, _POOL])
    budget = parameter_budget(materials.settings.budget.parameters, width)
    drawn: dict[Subnet, None] = {}
    while len(drawn) < RANDOM:
        drawn[sample(materials.space, rng, budget)] = None
    for repeat, count in ((0, RANDOM), (1, REPEATED)):
        for index, subnet in enumerate(list(drawn)[:count]):
            yield f"random {index}", repeat, subnet


def few_images(dataset: Dataset, seed: int) -> Dataset:
    """Reduce a dataset to 400 training and 100 validation images, drawn regardless of labels; the test set stays."""
    rng = np.random.default_rng([seed, _SUBSET])

    def drawn(split: Split, count: int) -> Split:
        return select(split, np.sort(rng.permutation(len(split))[:count]))

    return replace(
        dataset, train=drawn(dataset.train, TRAINED), validation=drawn(dataset.validation, VALIDATED), retrain=None
    )


def train_entry(name: str, repeat: int, subnet: Subnet, materials: Materials) -> Entry:
    """Train a subnet on all 500 images, and test it."""
    test = materials.dataset.load_test()
    logits, labels, steps = _train(subnet, repeat, materials, materials.dataset.full_train, test)
    parameters = subnet.parameter_count(materials.space.sizes)
    precision = materials.hardware.precision
    return Entry(name, repeat, subnet, parameters, steps, precision, predicted_labels(logits) == labels)


def _train(
    subnet: Subnet, repeat: int, materials: Materials, split: Split, measured: Split
) -> tuple[Logits, NDArray[np.int64], int]:
    """Train a subnet, and give the logits of the measured images, their labels, and the number of steps."""
    model, steps = train_subnet(subnet, repeat, materials, split)
    tested = materials.pixels(measured, "test", Silent())
    return merged_logits(model, subnet, tested, materials), tested.labels, steps


def train_subnet(
    subnet: Subnet,
    repeat: int,
    materials: Materials,
    split: Split,
    *,
    soft_labels: NDArray[np.float32] | None = None,
) -> tuple[Supernet, int]:
    """Train a subnet on its own, as the final training does; give it in evaluation mode, and the number of steps."""
    settings = materials.settings.retrain
    seed_torch(materials.settings.seed, _TRAINING, repeat)
    model = build_supernet(materials, subnet, settings)
    pixels = materials.pixels(split, "training", Silent())
    blocks, _ = choose_blocks(model, settings, 1)
    kept = keep_first_blocks(model, blocks, pixels, settings, materials, None, Silent()) if blocks else None
    with tempfile.TemporaryDirectory() as folder, Silent().bar("", settings.epochs, "epochs") as bar:
        train(
            model,
            pixels,
            materials.backbone.preprocessing,
            lambda *_: (subnet,),
            settings,
            materials.hardware,
            seed=(materials.settings.seed, _TRAINING, repeat),
            checkpoint=Path(folder, "checkpoint"),
            bar=bar,
            say=print,
            kept=kept,
            soft_labels=soft_labels,
        )
    return model.eval(), settings.epochs * -(-len(split) // settings.batch_size)


def scores_of_evidence(evidence: Sequence[Evidence], pool: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """Score subnets by trainings of their own: for each number of epochs that all have, by each measure."""
    names = {entry.name for entry in pool if is_random(entry)}
    found = {}
    for epochs in sorted({each.epochs for each in evidence}):
        of_epochs = [each for each in evidence if each.epochs == epochs]
        if names <= {each.name for each in of_epochs}:
            told = f"own training, {epochs} epochs"
            found[f"{told}, cross-entropy"] = {each.name: -each.cross_entropy for each in of_epochs}
            found[f"{told}, accuracy"] = {each.name: each.accuracy for each in of_epochs}
            calibrated = {each.name: -each.calibrated for each in of_epochs if each.calibrated is not None}
            if names <= calibrated.keys():
                found[f"{told}, calibrated cross-entropy"] = calibrated
    return found


def report(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of every method that has scores, over the pools that exist."""
    pools = {(task, seed): pool for task in tasks for seed in seeds if (pool := read_pool(folder, task, seed))}
    methods: dict[str, dict[tuple[str, int], Mapping[str, float]]] = {}
    for cell, pool in pools.items():
        evidence = [Evidence(**record) for record in read_lines(evidence_file(folder, *cell))]
        for name, of_cell in scores_of_evidence(evidence, pool).items():
            methods.setdefault(name, {})[cell] = of_cell
    for path in sorted((folder / "scores").glob("*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if (cell := (stored["task"], stored["seed"])) in pools:
            methods.setdefault(stored["method"], {})[cell] = stored["scores"]
    lines = ["| method | pools | percentile | 95 % | regret | tau |", "|---|---:|---:|---|---:|---:|"]
    for name, of_cells in methods.items():
        verdicts = {cell: judge(scores, pools[cell]) for cell, scores in of_cells.items()}
        by_task: dict[str, list[float]] = {}
        for (task, _), verdict in verdicts.items():
            by_task.setdefault(task, []).append(verdict.percentile)
        mean, low, high = interval(by_task)
        regret, tau = (float(np.mean([getattr(v, key) for v in verdicts.values()])) for key in ("regret", "tau"))
        lines.append(f"| {name} | {len(verdicts)} | {mean:.0f} | {low:.0f} to {high:.0f} | {regret:.1f} | {tau:.2f} |")
    halves = [ceiling_of_test(pool) for pool in pools.values() if sum(map(is_random, pool)) > 1]
    again = [value for pool in pools.values() if (value := ceiling_of_training(pool)) is not None]
    for what, values in (("half of the test images", halves), ("a second training", again)):
        if values:
            lines.append(f"| ceiling: {what} | {len(values)} | {np.mean(values):.0f} | | | |")
    return "\n".join(lines)


def pools_table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of the plain subnets, with their percentiles among the random ones, and of the range of these."""
    pools = {(task, seed): pool for task in tasks for seed in seeds if (pool := read_pool(folder, task, seed))}
    first = {cell: [entry for entry in pool if not entry.repeat] for cell, pool in pools.items()}
    drawn = {cell: [entry.accuracy for entry in pool if is_random(entry)] for cell, pool in first.items()}
    first, drawn = ({cell: of_all[cell] for cell in pools if drawn[cell]} for of_all in (first, drawn))
    titles = [f"{task}, seed {seed} | percentile" for task, seed in drawn]
    lines = [" | ".join(["| ", *titles, "mean | percentile |"]), "|---|" + "---:|" * (2 * len(titles) + 2)]

    def add(title: str, values: Sequence[float], ranks: Sequence[float] | None) -> None:
        columns = [(f"{value:.1f}", "" if ranks is None else f"{ranks[i]:.0f}") for i, value in enumerate(values)]
        columns.append((f"{np.mean(values):.1f}", "" if ranks is None else f"{np.mean(ranks):.0f}"))
        lines.append(f"| {title} | {' | '.join(cell for column in columns for cell in column)} |")

    for name in SINGLES:
        found = [entry.accuracy for pool in first.values() for entry in pool if entry.name == name]
        if drawn and len(found) == len(drawn):
            add(name, found, [percentile(value, of_cell) for value, of_cell in zip(found, drawn.values(), strict=True)])
    if drawn:
        add("random, mean", [float(np.mean(values)) for values in drawn.values()], None)
        add("random, best", [max(values) for values in drawn.values()], None)
        add("random, worst", [min(values) for values in drawn.values()], None)
    return "\n".join(lines)


def oracle_table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of what oracles gain over the first of the single modules: a row a task and seed, and their mean."""
    fixed, plain = SINGLES[0], SINGLES[:4]
    lines = [f"| task | seed | {' | '.join(f'{who}, {n} images' for who in _ORACLES for n in SEEN)} |"]
    lines.append("|---|---:|" + "---:|" * (len(_ORACLES) * len(SEEN)))
    rows: list[list[float]] = []
    for task, seed in ((task, seed) for task in tasks for seed in seeds):
        pool = [entry for entry in read_pool(folder, task, seed) if not entry.repeat]
        if not set(plain) < {entry.name for entry in pool}:
            continue
        some = [entry for entry in pool if entry.name in plain]
        rows.append([oracle_lead(each, images, fixed) for each in (pool, some) for images in SEEN])
        lines.append(f"| {task} | {seed} | {' | '.join(f'{lead:+.1f}' for lead in rows[-1])} |")
    if rows:
        lines.append(f"| mean | | {' | '.join(f'{lead:+.1f}' for lead in np.mean(rows, axis=0))} |")
    return "\n".join(lines)


def main() -> None:
    """Train the missing entries, or judge the existing scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "evidence", "supernet", *_TABLES))
    parser.add_argument("--tasks", default=",".join(DEVELOPMENT))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--epochs", default="2,4,15", help="of the trainings without the validation images")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    tasks, seeds = arguments.tasks.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.do in _TABLES:
        print(_TABLES[arguments.do](arguments.folder, tasks, seeds))
        return
    for seed in seeds:
        for task in tasks:
            if arguments.do == "train":
                fill_pool(arguments.folder, task, seed)
            elif arguments.do == "supernet":
                score_by_supernet(arguments.folder, task, seed)
            else:
                find_evidence(arguments.folder, task, seed, [int(count) for count in arguments.epochs.split(",")])


_TABLES = {"judge": report, "pools": pools_table, "oracle": oracle_table}

if __name__ == "__main__":
    main()
