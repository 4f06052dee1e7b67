"""Pools: subnets within a budget and single modules of about its size, each trained on its own in a cheap setting.

The setting has 56 px, 500 images, 15 epochs, and one thread; see `benchmarks.choice`, which fills and judges pools.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.steps import best_precision
from benchmarks.supernets import pocket_settings
from noah.data.dataset import Dataset
from noah.data.split import Split, select
from noah.evaluation.score import Logits, predicted_labels
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, prepare, seed_torch
from noah.prepare.first_blocks import choose_blocks, keep_first_blocks
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.space.budget import parameter_budget
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.loop import train

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
_SUBSET, _POOL, _TRAINING = 11, 12, 13
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


def is_random(entry: Entry) -> bool:
    """Whether the entry is a random subnet rather than a single module."""
    return entry.name.startswith("random ")


def read_pool(folder: Path, task: str, seed: int) -> list[Entry]:
    """Read the finished entries, in the order in which they were trained; an incomplete last line is ignored."""
    return [Entry.from_json(record) for record in read_lines(pool_file(folder, task, seed))]


def read_whole_pool(folder: Path, task: str, seed: int) -> list[Entry]:
    """Read the first training of each subnet; nothing as long as one is missing, as percentiles would change."""
    first = [entry for entry in read_pool(folder, task, seed) if not entry.repeat]
    names = {entry.name for entry in first}
    return first if {*SINGLES, *(f"random {index}" for index in range(RANDOM))} <= names else []


def pool_file(folder: Path, task: str, seed: int) -> Path:
    """Where the entries of a pool are kept, a line each."""
    return folder / "pool" / f"{task}-seed{seed}.jsonl"


def materials_of(task: str, seed: int, drop_path: float = 0.1) -> Materials:
    """Prepare a task in the cheap setting, with a rate of stochastic depth in the last block."""
    settings, _ = pocket_settings(task, {"seed": seed, **SETTING})
    retrain = settings.retrain.model_copy(update={"drop_path": drop_path})
    settings = settings.model_copy(update={"retrain": retrain})
    materials = prepare(settings, Silent())
    return replace(materials, dataset=few_images(materials.dataset, seed))


def few_images(dataset: Dataset, seed: int) -> Dataset:
    """Reduce a dataset to 400 training and 100 validation images, drawn regardless of labels; the test set stays."""
    rng = np.random.default_rng([seed, _SUBSET])

    def drawn(split: Split, count: int) -> Split:
        return select(split, np.sort(rng.permutation(len(split))[:count]))

    return replace(
        dataset, train=drawn(dataset.train, TRAINED), validation=drawn(dataset.validation, VALIDATED), retrain=None
    )


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


def with_retrain(materials: Materials, changes: Mapping[str, Any]) -> Materials:
    """The same with other settings of the final training."""
    settings = materials.settings
    retrain = settings.retrain.model_copy(update=dict(changes))
    return replace(materials, settings=settings.model_copy(update={"retrain": retrain}))


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


def train_entry(name: str, repeat: int, subnet: Subnet, materials: Materials) -> Entry:
    """Train a subnet on all 500 images, and test it."""
    test = materials.dataset.load_test()
    logits, labels, steps = train_and_predict(subnet, repeat, materials, materials.dataset.full_train, test)
    parameters = subnet.parameter_count(materials.space.sizes)
    precision = materials.hardware.precision
    return Entry(name, repeat, subnet, parameters, steps, precision, predicted_labels(logits) == labels)


def train_and_predict(
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
