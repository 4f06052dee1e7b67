"""Do training steps wait for their images? Compares steps per second on data with those on a batch that never changes.

    python -m benchmarks.data_path [--model vit-s14-98] [--steps 6] [--rounds 7] [--precision bf16]

Four ways take turns, each for some steps in a row after one that is not counted: a fixed batch; decoded pixels, as in a
run without augmentation; the augmentation of the recipe `few_shot` in the training process; and the same in a separate
process. Images are 256 x 256 pixels, already decoded. Prints and writes the median ratio to the fixed batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.step_ways import ARCHITECTURES, SETTINGS, Setting, pair
from benchmarks.steps import device_name
from noah.data.augment.augmented_pixels import load_augmented
from noah.data.augment.batch import BatchAugmentation
from noah.data.augment.image import Augmentation
from noah.data.pixels.device_pixels import place
from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import Batch, to_images
from noah.data.split import ArraySplit
from noah.files.atomic import write_json
from noah.hardware.bf16_weights import frozen_weights_held
from noah.settings.layers import recipe_layer, resolve
from noah.space.operators import sample
from noah.training.loop import make_optimizer
from noah.training.step import Step

SIDE, IMAGES = 256, 128
"""Side in pixels and number of the training images."""


def main() -> None:
    """Measure all four ways, and print and write the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="vit-s14-98", choices=list(ARCHITECTURES))
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("docs/steps"))
    arguments = parser.parse_args()
    setting = Setting(arguments.model, "paper", torch.device("cpu"), arguments.batch_size, arguments.precision)
    seconds = measure(setting, arguments.steps, arguments.rounds)
    fixed = seconds["fixed batch"]
    ratios = {
        name: median(theirs / own for own, theirs in zip(taken, fixed, strict=True)) for name, taken in seconds.items()
    }
    for name, taken in seconds.items():
        print(f"{name:<36} {1 / median(taken):6.2f} steps/s   {ratios[name]:.2f}x the fixed batch")
    result = {
        "model": arguments.model,
        "precision": arguments.precision,
        "batch_size": arguments.batch_size,
        "device": device_name(setting.device),
        "threads": torch.get_num_threads(),
        "seconds_a_step": seconds,
        "ratios": ratios,
    }
    write_json(arguments.out / f"data-{arguments.model}.json", result)


def measure(setting: Setting, steps: int, rounds: int) -> dict[str, list[float]]:
    """Measure the mean seconds per step in each round, for each way."""
    side = ARCHITECTURES[setting.model][1]
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    split = ArraySplit(images, rng.integers(100, size=IMAGES), "synthetic")
    preprocessing = Preprocessing(side, side, "squash", 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    changes = resolve([recipe_layer("few_shot")])[0].supernet.augmentation
    augmentation = Augmentation(changes, preprocessing)
    of_batch = BatchAugmentation(changes, 100)

    resident = place(load_pixels(split, preprocessing), setting.device)
    alone = load_augmented(split, preprocessing, augmentation, workers=0)
    beside = load_augmented(split, preprocessing, augmentation, workers=1)

    def draws() -> Iterator[tuple[NDArray[np.int64], tuple[int, ...]]]:
        for number in count():
            yield np.random.default_rng(number).permutation(IMAGES)[: setting.batch_size], (number,)

    def fetched() -> Iterator[Batch]:
        return (resident.fetch(indices) for indices, _ in draws())

    _, supernet = pair(setting, 0.1)
    hardware = setting.hardware(setting.precision)
    step, optimizer = Step(supernet, hardware), make_optimizer(supernet, **SETTINGS)
    subnet = sample(setting.search_space(supernet.backbone), np.random.default_rng(7))
    fixed, labels = setting.batch()
    ways = {
        "fixed batch": None,
        "decoded pixels": fetched,
        "augmented in this process": lambda: alone.batches(draws()),
        "augmented in one process beside it": lambda: beside.batches(draws()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with frozen_weights_held(supernet, hardware):
        supernet.train()
        for _ in range(rounds):
            for name, begin in ways.items():
                batches = None if begin is None else begin()
                for number in range(steps + 1):
                    if number == 1:
                        started = time.perf_counter()
                    batch, targets = fixed, labels
                    if batches is not None:
                        batch = to_images(next(batches), preprocessing, setting.device)
                        if name.startswith("augmented"):
                            batch, targets = of_batch.apply(batch, labels, (number,))
                    optimizer.zero_grad(set_to_none=True)
                    step.add_gradients(batch, targets, (subnet,))
                    optimizer.step()
                seconds[name].append((time.perf_counter() - started) / steps)
    return seconds


if __name__ == "__main__":
    main()
