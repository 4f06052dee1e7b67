"""A training of a second: photographs in memory, and a supernet on the tiny backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from noah.backbone.load import load_backbone
from noah.data.augment.augmented_pixels import AugmentedPixels, TrainingPixels, load_augmented
from noah.data.augment.image import Augmentation
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.evaluation.kept_tokens import KeptTokens
from noah.hardware.device import Hardware
from noah.model.supernet import Supernet
from noah.progress import Bar, Detail, Silent
from noah.settings.training_settings import AugmentationSettings, TrainingSettings
from noah.space.operators import sample
from noah.space.search_space import SearchSpace, make_space
from noah.space.subnet import Subnet
from noah.training.loop import train
from noah.training.subnet_draws import SubnetDraw
from tests.conftest import PHOTO_CLASSES, TINY_ARCHITECTURE, TINY_IMAGE_SIZE, draw_photo

BLOCKS, EMBED_DIM = 6, 64
CPU = Hardware(torch.device("cpu"), "fp32", 1, ())
PREPROCESSING = Preprocessing(
    TINY_IMAGE_SIZE, TINY_IMAGE_SIZE, "squash", 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
)
EVERYTHING = AugmentationSettings(
    random_resized_crop=(0.5, 1),
    horizontal_flip=0.5,
    randaugment="rand-m9-mstd0.5-inc1",
    color_jitter=0.4,
    random_erasing=0.25,
    mixup=0.8,
    cutmix=1.0,
)
SPACE: SearchSpace = make_space(BLOCKS, EMBED_DIM, {"prompt": (1, 3), "lora": (1, 4), "adapter": (2, 4)})
_DRAW = partial(sample, SPACE)


def settings(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "warmup_epochs": 0.5}
    return TrainingSettings(**(values | changes))


def photo_split(per_class: int = 8, seed: int = 0) -> ArraySplit:
    """Photographs, class after class."""
    rng = np.random.default_rng(seed)
    images = np.stack([draw_photo(name, rng) for name in PHOTO_CLASSES for _ in range(per_class)])
    labels = np.repeat(np.arange(len(PHOTO_CLASSES)), per_class)
    return ArraySplit(images, labels, "photos")


def photo_pixels(per_class: int = 8, seed: int = 0) -> Pixels:
    """The same in memory, at the size that the backbone takes."""
    return load_pixels(photo_split(per_class, seed), PREPROCESSING)


def augmented_photos(
    augmentation: AugmentationSettings = EVERYTHING, *, per_class: int = 8, workers: int = 0
) -> AugmentedPixels:
    return load_augmented(
        photo_split(per_class), PREPROCESSING, Augmentation(augmentation, PREPROCESSING), workers=workers
    )


def tiny_supernet(
    backbone_file: Path,
    largest: Subnet | None = None,
    *,
    seed: int = 0,
    dropout: float = 0.1,
    drop_path: float = 0.1,
    num_classes: int = len(PHOTO_CLASSES),
) -> Supernet:
    backbone = load_backbone(str(backbone_file), architecture=TINY_ARCHITECTURE, image_size=TINY_IMAGE_SIZE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(
            backbone.model, largest or SPACE.largest, num_classes=num_classes, dropout=dropout, drop_path=drop_path
        )


def trained_supernet(backbone_file: Path) -> Supernet:
    """In training mode and float64 (the loss is in float32), without dropout, its weights away from their start."""
    model = tiny_supernet(backbone_file, dropout=0.0, drop_path=0.0).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def seven_images() -> Tensor:
    """Noise, float64 (7, 3, 32, 32)."""
    return torch.randn(7, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def run_training(
    supernet: Supernet,
    checkpoint: Path,
    training: TrainingSettings,
    *,
    pixels: TrainingPixels | None = None,
    draw: Callable[[Generator], Subnet] = _DRAW,
    draw_subnets: SubnetDraw | None = None,
    seed: tuple[int, ...] = (0, 1),
    bar: Bar | None = None,
    hardware: Hardware = CPU,
    class_weights: Tensor | None = None,
    kept: KeptTokens | None = None,
    soft_labels: NDArray[np.float32] | None = None,
    leave: Callable[[], bool] = lambda: False,
) -> list[float]:
    """`draw` gives the one subnet of a step, `draw_subnets` all of them; without either each step draws one."""
    return train(
        supernet,
        pixels or photo_pixels(),
        PREPROCESSING,
        draw_subnets or (lambda _, rng: (draw(rng) if draw else sample(SPACE, rng),)),
        training,
        hardware,
        seed=seed,
        checkpoint=checkpoint,
        bar=bar or Silent(),
        say=Silent().say,
        class_weights=class_weights,
        kept=kept,
        soft_labels=soft_labels,
        leave=leave,
    )


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        value.dtype == second[name].dtype and value.cpu().numpy().tobytes() == second[name].cpu().numpy().tobytes()
        for name, value in first.items()
    )


@contextmanager
def watched_steps() -> Iterator[list[list[dict[str, Any]]]]:
    """The parameter groups of the optimizer just before each of its steps."""
    steps: list[list[dict[str, Any]]] = []
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: steps.append([dict(group) for group in optimizer.param_groups])
    )
    yield steps
    hook.remove()


@contextmanager
def watched_forward(supernet: Supernet) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Images and logits of each forward pass."""
    passes: list[tuple[Tensor, Tensor]] = []
    hook = supernet.register_forward_hook(lambda _, inputs, logits: passes.append((inputs[0], logits.detach())))
    yield passes
    hook.remove()


class StopAt:
    """A bar that interrupts the training as Ctrl-C does, once so many epochs are done."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        if done == self.epochs:
            raise KeyboardInterrupt
