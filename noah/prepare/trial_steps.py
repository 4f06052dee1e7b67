"""Times a few real steps of each stage, with the run's own images, backbone and device, and throws their results away.

The steps are those of the stages themselves: `noah.training.loop.train` for both trainings, and merging and
`compute_logits` for candidates. Nothing is kept; the temporary folder that a training needs is deleted afterwards.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from numpy.random import Generator

from noah.data.augment.augmented_pixels import TrainingPixels, choose_workers, load_augmented
from noah.data.augment.image import Augmentation
from noah.data.intake import without
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.split import Split, select
from noah.data.survey import survey
from noah.evaluation.score import compute_logits
from noah.hardware.device import Hardware
from noah.hardware.memory import PeakMemory, available_memory
from noah.hardware.step_clock import (
    TIMED,
    WARM_UP,
    StepTimer,
    is_enough,
    typical_seconds,
    wait,
    warm_up_steps,
)
from noah.model.merge import merge
from noah.prepare.build import build_supernet, class_weights
from noah.prepare.context import Materials, seed_torch
from noah.prepare.first_blocks import choose_blocks, keep_first_blocks
from noah.prepare.held_out import final_images
from noah.progress import Listener
from noah.settings.training_settings import TrainingSettings, shortened
from noah.space.budget import Budget
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.training.checkpoint import CHECKPOINT_FILE
from noah.training.loop import train
from noah.training.subnet_draws import SubnetDraw, draw_subnets

_TRIAL = 6
"""The second word of the seed, which no stage of a run uses."""
_STEPS = WARM_UP + TIMED
_SUBNETS = 8
"""How many subnets are drawn to find a large one within the budget: a search's winners are near its bound."""


@dataclass(frozen=True, slots=True)
class TrainingTrial:
    """The figures from a few steps of a training.

    Args:
        reading_seconds: Seconds for decoding all images of the training that will be held in memory, and for computing
            their tokens behind the first blocks where these are computed once for all epochs.
        step_seconds: Seconds for one optimizer step.
        memory: Peak memory in MiB, see `PeakMemory`.
    """

    reading_seconds: float
    step_seconds: float
    memory: float | None


@dataclass(frozen=True, slots=True)
class EvaluationTrial:
    """The figures from the evaluation of a few candidates.

    Args:
        reading_seconds: Seconds for decoding all validation images that will be held in memory.
        merge_seconds: Seconds for merging one candidate.
        image_seconds: Seconds for one image through a merged network.
        memory: Peak memory in MiB, see `PeakMemory`.
    """

    reading_seconds: float
    merge_seconds: float
    image_seconds: float
    memory: float | None


def try_supernet_training(materials: Materials, listener: Listener) -> TrainingTrial:
    """Time a few steps of the supernet's training, with subnets drawn as in the run."""
    settings, space = materials.settings, materials.space
    draw = partial(draw_subnets, space, settings.supernet, (settings.seed, _TRIAL))
    title = "timing the training of the supernet"
    return _try_training(materials, materials.dataset.train, space.largest, draw, settings.supernet, title, listener)


def try_retraining(materials: Materials, budget: Budget, listener: Listener) -> TrainingTrial:
    """Time a few steps of retraining a subnet that uses most of the parameters that the budget allows."""
    rng = np.random.default_rng([materials.settings.seed, _TRIAL])
    drawn = [sample(materials.space, rng, budget) for _ in range(_SUBNETS)]
    subnet = max(drawn, key=lambda each: each.parameter_count(materials.space.sizes))
    split, settings = final_images(materials).training, materials.settings.retrain
    return _try_training(materials, split, subnet, lambda *_: (subnet,), settings, "timing the retraining", listener)


def try_evaluation(materials: Materials, budget: Budget, listener: Listener) -> EvaluationTrial:
    """Time the merging and evaluation of random subnets within the budget, each on one batch of validation images."""
    settings, hardware = materials.settings, materials.hardware
    rng = np.random.default_rng([settings.seed, _TRIAL])
    batch_size = materials.evaluation_batch_size
    split = _some_of(materials, materials.dataset.validation, batch_size, rng)
    started = time.perf_counter()
    pixels = load_pixels(
        split,
        materials.backbone.preprocessing,
        memory_limit=_memory_share(split, materials.dataset.validation, hardware),
    )
    reading = _for_all(time.perf_counter() - started, split, materials.dataset.validation)
    seed_torch(settings.seed, _TRIAL)
    supernet = build_supernet(materials, materials.space.largest, settings.supernet).eval()
    merging: list[float] = []
    showing: list[float] = []
    both: list[float] = []
    with PeakMemory(hardware.device) as memory, listener.bar("timing the search", _STEPS, "subnets") as bar:
        while not is_enough(both):
            subnet = sample(materials.space, rng, budget)
            wait(hardware.device)
            started = time.perf_counter()
            network = merge(supernet, subnet)
            wait(hardware.device)
            merged = time.perf_counter()
            compute_logits(network, pixels, materials.backbone.preprocessing, hardware, batch_size)
            shown = time.perf_counter()  # the logits are on the CPU, so the device is done
            merging.append(merged - started)
            showing.append(shown - merged)
            both.append(shown - started)
            bar.update(len(both))
    warm_up = warm_up_steps(both)
    return EvaluationTrial(
        reading, median(merging[warm_up:]), median(showing[warm_up:]) / len(pixels), memory.mebibytes
    )


def _try_training(
    materials: Materials,
    split: Split,
    largest: Subnet,
    draw: SubnetDraw,
    training: TrainingSettings,
    title: str,
    listener: Listener,
) -> TrainingTrial:
    seed = (materials.settings.seed, _TRIAL)
    some = _some_of(materials, split, _STEPS * training.batch_size, np.random.default_rng(seed))
    started = time.perf_counter()
    pixels = _training_pixels(materials, some, training, _memory_share(some, split, materials.hardware))
    reading = _for_all(time.perf_counter() - started, some, split)
    # Checkpoints are only written if there are so few images that epochs end before enough steps have been timed.
    epochs = math.ceil((_STEPS + 1) / math.ceil(len(some) / training.batch_size))
    seed_torch(*seed)
    model = build_supernet(materials, largest, training)
    blocks, _ = choose_blocks(model, training, materials.hardware.processes.count)
    kept = None
    if blocks and isinstance(pixels, Pixels):
        started = time.perf_counter()
        kept = keep_first_blocks(model, blocks, pixels, training, materials, None, listener)
        reading += _for_all(time.perf_counter() - started, some, split)
    with (
        PeakMemory(materials.hardware.device) as memory,
        TemporaryDirectory() as folder,
        listener.bar(title, _STEPS, "steps") as bar,
    ):
        timer = StepTimer(materials.hardware.device, bar, materials.hardware.processes)
        train(
            model,
            pixels,
            materials.backbone.preprocessing,
            draw,
            shortened(training, epochs),
            materials.hardware,
            seed=seed,
            checkpoint=Path(folder) / CHECKPOINT_FILE,
            bar=timer,
            say=listener.say,
            class_weights=class_weights(pixels, materials),
            kept=kept,
            leave=lambda: timer.has_enough,
        )
    return TrainingTrial(reading, typical_seconds(timer.durations), memory.mebibytes)


def _training_pixels(materials: Materials, split: Split, training: TrainingSettings, limit: int) -> TrainingPixels:
    preprocessing = materials.backbone.preprocessing
    if not training.augmentation.changes_images:
        return load_pixels(split, preprocessing, memory_limit=limit)
    hardware = materials.hardware
    workers, _ = choose_workers(
        materials.settings.hardware.augmentation_workers, hardware.device.type, hardware.processes.local_count
    )
    augmentation = Augmentation(training.augmentation, preprocessing)
    return load_augmented(split, preprocessing, augmentation, workers=workers, memory_limit=limit)


def _some_of(materials: Materials, split: Split, count: int, rng: Generator) -> Split:
    """Draw at most `count` images of a split at random, so that their sizes are typical; those that can be read."""
    some = select(split, np.sort(rng.permutation(len(split))[:count]))
    if materials.as_loaded is None:
        return some  # all images were looked at, and what cannot be read is left out of the split
    repair = materials.intake.decoding.repair
    lost = materials.hardware.processes.of_first(
        lambda: [image.index for image in survey(some).damaged if not (repair and image.repairable)]
    )
    return some if len(lost) == len(some) else without(some, lost)


def _memory_share(some: Split, split: Split, hardware: Hardware) -> int:
    """The bytes that a sample of a split may take, so that the same share of it is held in memory as of the whole."""
    return available_memory() // 2 // hardware.processes.local_count * len(some) // len(split)


def _for_all(seconds: float, some: Split, split: Split) -> float:
    return seconds * len(split) / len(some)
