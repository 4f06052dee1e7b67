"""Training the modules and the head of a supernet, the backbone frozen (NOAH, section 3.3)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from numpy.typing import NDArray
from timm.scheduler import CosineLRScheduler
from torch import Tensor
from torch.nn import functional as F

from noah.checkpoint import read_checkpoint, restore, save_checkpoint
from noah.data.augmented import AugmentedPixels, TrainingPixels
from noah.data.batch_augmentation import BatchAugmentation
from noah.data.preprocessing import Preprocessing
from noah.distillation import add_gradients
from noah.errors import TrainingError, UsageError
from noah.hardware import Hardware
from noah.held_weights import frozen_weights_held
from noah.inputs import to_images
from noah.progress import Bar
from noah.settings import TrainingSettings
from noah.subnet import Subnet
from noah.subnet_draws import SubnetDraw
from noah.supernet import Supernet

_IMAGES, _BATCHES = 1, 2
"""Words of the seed after the epoch's, so that neither shares random numbers with the other or with the epoch."""


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
    class_weights: Tensor | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Train in place, with a checkpoint after every epoch.

    Every step takes one batch and its subnets, whose gradients are added up (`noah.distillation`). The epoch's
    generator is seeded by `seed` and the epoch's number, so that a training that goes on from its checkpoint takes the
    same steps as one that was never interrupted. So are the generators of every augmented image and batch.

    Args:
        supernet: Trained in place; also holds the result.
        pixels: The training images; augmented ones where the settings change single images.
        preprocessing: Their normalisation.
        draw_subnets: The subnets of a step; a constant function trains one subnet.
        settings: Epochs, batch size, learning rate and so on.
        hardware: Device and precision.
        seed: Words of the seed.
        checkpoint: The checkpoint file; if it exists the training goes on from it.
        bar: Told the number of finished epochs, with the finished part of the running one.
        class_weights: Weight of each class in the loss, (classes).
        enough: Asked after every epoch whether to stop before the last.

    Returns:
        The mean training loss of each epoch, that of the first subnet of each step.

    Raises:
        TrainingError: If the loss is not finite; the last good checkpoint stays.
        RunError: If the checkpoint is damaged or belongs to another supernet.
        UsageError: If a launcher started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("Training in several processes is not supported.", "Start noah alone, without a launcher.")
    if settings.augmentation.changes_images and not isinstance(pixels, AugmentedPixels):
        raise ValueError("the settings augment single images, and these pixels do not change")
    # accelerate keeps the first device and precision of a process for good, and offers no public way to change them.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        cpu=hardware.device.type == "cpu",
        mixed_precision="no" if hardware.precision == "fp32" else hardware.precision,
    )
    optimizer = torch.optim.AdamW(_parameter_groups(supernet, settings.weight_decay), lr=settings.learning_rate)
    losses: list[float] = []
    model, optimizer = accelerator.prepare(supernet, optimizer)
    if checkpoint.exists():
        stored = read_checkpoint(checkpoint)
        restore(stored, supernet, optimizer.optimizer)
        losses = list(stored.losses)
    steps = math.ceil(len(pixels) / settings.batch_size)
    schedule = _schedule(optimizer, settings, steps)
    augmentation = BatchAugmentation(settings.augmentation, supernet.num_classes)
    if class_weights is not None:
        class_weights = class_weights.to(accelerator.device)

    def forward(images: Tensor, subnet: Subnet) -> Tensor:
        with accelerator.autocast():
            logits: Tensor = model(images, subnet)
        return logits.float()

    bar.update(len(losses))
    epochs = range(len(losses), settings.epochs)
    batches = closing(_pixel_batches(pixels, settings.batch_size, seed, epochs))
    with frozen_weights_held(supernet, hardware), batches as prepared:
        for epoch in epochs:
            rng, torch_seed, order = _begin_epoch(seed, epoch, len(pixels))
            torch.manual_seed(torch_seed)
            model.train()
            total = torch.zeros((), device=accelerator.device)
            for step, indices in enumerate(_split(order, settings.batch_size)):
                bar.update(epoch + step / steps)
                schedule.step_update(epoch * steps + step)
                images = to_images(next(prepared), preprocessing, accelerator.device)
                labels = torch.from_numpy(pixels.labels[indices]).to(accelerator.device)
                images, targets = augmentation.apply(images, labels, (*seed, 1 + epoch, _BATCHES, 1 + step))
                subnets = draw_subnets(epoch * steps + step, rng)
                label_loss = partial(
                    cross_entropy,
                    targets=targets,
                    class_weights=class_weights,
                    label_smoothing=settings.label_smoothing,
                )
                optimizer.zero_grad(set_to_none=True)
                loss = add_gradients(partial(forward, images), subnets, label_loss, accelerator.backward)
                optimizer.step()
                total += loss * len(indices)
            losses.append(total.item() / len(pixels))
            if not math.isfinite(losses[-1]):
                raise _not_finite(losses, hardware)
            save_checkpoint(checkpoint, supernet, optimizer.optimizer, losses)
            bar.update(len(losses), f"loss {losses[-1]:.3f}")
            if enough():
                break
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # takes its autocast off the supernet's forward again
    return losses


def cross_entropy(logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of a batch; labels that are mixed count as so many shares of images.

    A share t of class c in image i counts t w_c, and the sum over images and classes is divided by the sum of all t w_c
    before smoothing, so that labels given as rows with a single 1 have the same loss as the labels themselves.

    Args:
        logits: float32 (B, classes).
        targets: int64 (B), or float32 (B, classes) whose rows sum to 1.
        class_weights: The w_c, float32 (classes); all are 1 if None.
        label_smoothing: The share of each label that is spread over all classes.
    """
    if targets.dim() == 1 or class_weights is None:
        return F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing)
    total = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum")
    return total / (targets @ class_weights).sum()


def balanced_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Class weights that make every class count the same in the loss: n / (classes x images of the class)."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(counts, 1)), dtype=torch.float32)


def _begin_epoch(seed: tuple[int, ...], epoch: int, count: int) -> tuple[np.random.Generator, int, NDArray[np.int64]]:
    """The epoch's generator, its seed for torch, and its order of the images."""
    rng = np.random.default_rng([*seed, 1 + epoch])  # to NumPy a last word of 0 is no word
    torch_seed = int(rng.integers(2**63))
    return rng, torch_seed, rng.permutation(count)


def _split(order: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    return np.split(order, range(batch_size, len(order), batch_size))


def _pixel_batches(
    pixels: TrainingPixels, batch_size: int, seed: tuple[int, ...], epochs: range
) -> Generator[NDArray[np.uint8]]:
    """The pixels of every batch of every epoch, which other processes may prepare ahead of time."""
    draws = (
        (indices, (*seed, 1 + epoch, _IMAGES))
        for epoch in epochs
        for indices in _split(_begin_epoch(seed, epoch, len(pixels))[2], batch_size)
    )
    if isinstance(pixels, AugmentedPixels):
        yield from pixels.batches(draws)
    else:
        yield from (pixels.batch(indices) for indices, _ in draws)


def _not_finite(losses: list[float], hardware: Hardware) -> TrainingError:
    return TrainingError(
        f"The training loss is {losses[-1]} in epoch {len(losses)}.",
        "Start a new run with a lower learning rate, such as --set supernet.learning_rate=1e-4."
        if hardware.precision == "fp32"
        else "Go on from the epoch before with --resume --precision fp32.",
    )


def _parameter_groups(supernet: Supernet, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay; biases do not, as in timm's recipes."""
    trainable = [parameter for parameter in supernet.parameters() if parameter.requires_grad and parameter.numel()]
    return [
        {"params": [parameter for parameter in trainable if parameter.dim() > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trainable if parameter.dim() <= 1], "weight_decay": 0.0},
    ]


def _schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, steps: int) -> CosineLRScheduler:
    return CosineLRScheduler(
        optimizer,
        t_initial=settings.epochs * steps,
        lr_min=settings.minimum_learning_rate,
        warmup_t=round(settings.warmup_epochs * steps),
        warmup_lr_init=settings.warmup_learning_rate,
        t_in_epochs=False,
    )
