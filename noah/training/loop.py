"""Training the modules and the head of a supernet, with the backbone frozen (NOAH, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.scheduler import CosineLRScheduler
from torch import Tensor

from noah.data.augment.augmented_pixels import AugmentedPixels, TrainingPixels
from noah.data.augment.batch import BatchAugmentation
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import Batch, to_images
from noah.evaluation.kept_tokens import KeptTokens
from noah.hardware.bf16_weights import frozen_weights_held
from noah.hardware.device import Hardware
from noah.model.compiled import CompiledForward
from noah.model.supernet import Supernet
from noah.progress import Bar, TrainingDetail
from noah.settings.training_settings import AugmentationSettings, TrainingSettings
from noah.training.averaging import AveragedWeights
from noah.training.checkpoint import read_checkpoint, restore, save_checkpoint
from noah.training.divergence import StepLosses, check_state
from noah.training.step import Step, own_share
from noah.training.subnet_draws import SubnetDraw
from noah.training.within_memory import StepsWithinMemory

_IMAGES, _BATCHES = 1, 2
"""The seed's words after that of the epoch, so that images, batches and the epoch never share random numbers."""


def train(
    supernet: Supernet,
    pixels: TrainingPixels,
    preprocessing: Preprocessing,
    draw_subnets: SubnetDraw,
    settings: TrainingSettings,
    hardware: Hardware,
    *,
    seed: tuple[int, ...],
    checkpoint: Path,
    bar: Bar,
    say: Callable[[str], None],
    stage: str = "training",
    remedy: str = "Choose a lower learning rate.",
    class_weights: Tensor | None = None,
    kept: KeptTokens | None = None,
    soft_labels: NDArray[np.float32] | None = None,
    enough: Callable[[], bool] = lambda: False,
    leave: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Train in place, with a checkpoint after every epoch.

    Every step takes one batch and its subnets, and adds up their gradients (`noah.training.loss`). The epoch's
    generator is seeded with `seed` and the epoch's number, and so are the generators of every augmented image and
    batch. A training that is resumed from its checkpoint therefore takes the same steps as one that was never
    interrupted.

    If several processes train together, each has a supernet with the same weights and takes its share of every batch;
    all draw the same orders and subnets. The first writes the checkpoint, and all of them resume from it.

    Args:
        supernet: The supernet, which is trained in place.
        pixels: The training images; they have to be augmented ones if the settings change single images.
        preprocessing: Gives mean and standard deviation for normalizing the images.
        draw_subnets: Draws the subnets of a step; a constant function trains a single subnet.
        settings: Epochs, batch size, learning rate and so on.
        hardware: Gives device, precision and processes.
        seed: Words of the seed.
        checkpoint: The checkpoint file; if it exists, the training is resumed from it.
        bar: Updated with the number of finished epochs, including the finished part of the current one.
        say: Told if batches have to be taken in smaller parts, because the GPU's memory is full.
        stage: The name of this training in the bar's details.
        remedy: What the user can do if the learning rate is too high, in one sentence.
        class_weights: The weight of each class in the loss, (classes).
        kept: The tokens of the training images behind the first blocks, if nothing changes in these
            (`noah.prepare.first_blocks`); the pixels are then not read.
        soft_labels: Shares of the classes for each training image, (n, classes), such as a teacher's predictions; they
            stand in for the labels.
        enough: Asked after every epoch whether to stop early; in the first process only.
        leave: Asked before every step and after every epoch, in every process, whether to stop at once; an unfinished
            epoch then has no loss and no checkpoint.

    Returns:
        The mean training loss of each epoch, which is that of the first subnet of each step.

    Raises:
        TrainingError: If a loss is not finite, or if weights or moments are not finite at the end of an epoch
            (`noah.training.divergence`); the last good checkpoint is kept.
        RunError: If the checkpoint is damaged or belongs to another supernet.
        ProcessError: If another process has stopped.
    """
    if settings.augmentation.changes_images and not isinstance(pixels, AugmentedPixels):
        raise ValueError("the settings augment single images, and these pixels do not change")
    if kept and not stays_the_same(supernet, settings.augmentation, kept.blocks):
        raise ValueError(f"not all is the same in every epoch up to block {kept.blocks}")
    augmentation = BatchAugmentation(settings.augmentation, supernet.num_classes)
    if soft_labels is not None and augmentation.mixes:
        raise ValueError("soft labels belong to single images, and these are mixed")
    device, processes = hardware.device, hardware.processes
    optimizer = make_optimizer(supernet, settings.learning_rate, settings.weight_decay)
    losses: list[float] = []
    steps = math.ceil(len(pixels) / settings.batch_size)
    averaged = AveragedWeights(supernet, settings.average_epochs * steps) if settings.average_epochs else None
    if processes.of_first(checkpoint.exists):
        stored = read_checkpoint(checkpoint)
        restore(stored, supernet, optimizer)
        losses = list(stored.losses)
        if averaged:
            averaged.restore(stored.averages)
    schedule = _schedule(optimizer, settings, steps)
    weights = None if class_weights is None else class_weights.to(device)
    compiled = CompiledForward(supernet) if hardware.compiled else None
    labels = pixels.labels if soft_labels is None else soft_labels
    first = kept.blocks if kept else 0
    step_of_all = Step(supernet, hardware, settings.accumulation, weights, settings.label_smoothing, compiled, first)
    training_steps = StepsWithinMemory(step_of_all, say)

    def fetched(count: int) -> slice:
        """The images of a batch that this process needs: augmentation of whole batches needs all of them."""
        return slice(0, count) if augmentation.is_on or count < processes.count else own_share(count, processes)

    def end_epoch() -> bool:
        """Check and save the weights, which are the same in all processes; returns whether to stop here."""
        check_state(supernet, optimizer, len(losses), hardware, remedy)
        save_checkpoint(checkpoint, supernet, optimizer, losses, averaged.state() if averaged else None)
        return enough()

    def detail(learning_rate: float | None) -> TrainingDetail:
        return TrainingDetail(len(pixels), tuple(losses), stage, learning_rate)

    bar.update(len(losses), detail=detail(None))
    epochs = range(len(losses), settings.epochs)
    batches = closing(_pixel_batches(pixels, settings.batch_size, seed, epochs, fetched))
    with frozen_weights_held(supernet, hardware), batches as prepared:
        for epoch in epochs:
            rng, torch_seed, order = _begin_epoch(seed, epoch, len(pixels))
            torch.manual_seed((torch_seed + processes.rank) % 2**63)  # each share has its own dropout
            supernet.train()
            total = torch.zeros((), device=device)
            watched = StepLosses(1 + epoch, steps, hardware, remedy)
            for step, indices in enumerate(_split(order, settings.batch_size)):
                bar.update(epoch + step / steps)
                if leave():
                    return losses
                schedule.step_update(epoch * steps + step)
                targets = torch.from_numpy(labels[indices]).to(device)
                if kept:
                    inputs = kept.fetch(indices[own_share(len(indices), processes)])
                else:
                    inputs = to_images(next(prepared), preprocessing, device)
                    inputs, targets = augmentation.apply(inputs, targets, (*seed, 1 + epoch, _BATCHES, 1 + step))
                    if len(inputs) == len(indices):
                        inputs = inputs[own_share(len(indices), processes)]
                subnets = draw_subnets(epoch * steps + step, rng)
                loss = training_steps.add_gradients(inputs, targets, subnets)
                watched.add(loss)
                optimizer.step()
                if averaged:
                    averaged.update(epoch * steps + step)
                total += loss * (len(indices) / len(pixels))  # added as shares, so that large losses stay finite
            processes.add_up([total])
            losses.append(total.item())
            stop = processes.of_first(end_epoch)
            bar.update(len(losses), f"loss {losses[-1]:.3f}", detail(optimizer.param_groups[0]["lr"]))
            if stop or leave():
                break
    if averaged:
        averaged.apply()
    return losses


def stays_the_same(supernet: Supernet, augmentation: AugmentationSettings, blocks: int) -> bool:
    """Whether an image's tokens behind the first `blocks` blocks are the same in every epoch."""
    is_random = augmentation != AugmentationSettings() or any(supernet.drop_path_rates[:blocks])
    return blocks <= supernet.largest.bare_blocks and not is_random


def _begin_epoch(seed: tuple[int, ...], epoch: int, count: int) -> tuple[np.random.Generator, int, NDArray[np.int64]]:
    """The epoch's generator, its seed for torch, and its order of the images."""
    rng = np.random.default_rng([*seed, 1 + epoch])  # NumPy ignores a last word of 0
    torch_seed = int(rng.integers(2**63))
    return rng, torch_seed, rng.permutation(count)


def _split(order: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    return np.split(order, range(batch_size, len(order), batch_size))


def _pixel_batches(
    pixels: TrainingPixels,
    batch_size: int,
    seed: tuple[int, ...],
    epochs: range,
    fetched: Callable[[int], slice],
) -> Generator[Batch]:
    """Yield the pixels of every batch of every epoch, limited to the positions in the batch that `fetched` returns.

    Worker processes may prepare them ahead of time.
    """
    draws = (
        (indices[fetched(len(indices))], (*seed, 1 + epoch, _IMAGES))
        for epoch in epochs
        for indices in _split(_begin_epoch(seed, epoch, len(pixels))[2], batch_size)
    )
    if isinstance(pixels, AugmentedPixels):
        yield from pixels.batches(draws)
    else:
        yield from (pixels.fetch(indices) for indices, _ in draws)


def make_optimizer(supernet: Supernet, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make AdamW for modules and head, fused on a GPU; only matrices have weight decay, as in timm's recipes."""
    trainable = [parameter for parameter in supernet.parameters() if parameter.requires_grad and parameter.numel()]
    groups: list[dict[str, object]] = [
        {"params": [parameter for parameter in trainable if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=supernet.head.weight.is_cuda or None)


def _schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> CosineLRScheduler:
    return CosineLRScheduler(
        optimizer,
        t_initial=settings.epochs * steps,
        lr_min=settings.minimum_learning_rate,
        warmup_t=round(settings.warmup_epochs * steps),
        warmup_lr_init=settings.warmup_learning_rate,
        t_in_epochs=False,
    )
