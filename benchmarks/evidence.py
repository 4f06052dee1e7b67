"""Evidence on the subnets of pools: what validation images say of them, after a training of each, or of a supernet.

`benchmarks.choice` judges what choosing by it is worth.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.pool import materials_of, train_and_predict, wanted
from noah.data.split import Split, select
from noah.evaluation.score import Logits, score
from noah.evaluation.temperature import fit_temperature
from noah.files.atomic import write_json
from noah.files.jsonl import append_line, read_lines
from noah.nas.surrogate import fit_posterior
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, seed_torch
from noah.progress import Silent
from noah.settings.training_settings import shortened
from noah.space.budget import parameter_budget
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.loop import train
from noah.training.subnet_draws import draw_subnets

OTHERS = 60
"""Random subnets beside those of a pool that a supernet is asked about, as many as a search of the pocket recipe."""
MEASURES = ("accuracy", "cross-entropy", "calibrated cross-entropy")
CROSS_FITTED = "two supernets, cross-fitted cross-entropy"
"""A score by all images, at the cost in steps of one supernet."""
_SUPERNET, _HALVES = 14, 15
"""Constants that keep the random streams apart, from those of `benchmarks.pool`, too."""


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


def evidence_file(folder: Path, task: str, seed: int) -> Path:
    """Where the evidence on a pool is kept, a line each."""
    return folder / "evidence" / f"{task}-seed{seed}.jsonl"


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
        logits, labels, _ = train_and_predict(
            subnets[name], 0, replace(materials, settings=settings), train_split, validation
        )
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
