from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor

from noah.data.augment.batch import BatchAugmentation
from noah.data.augment.seeding import seeded
from noah.data.pixels.to_inputs import to_images
from noah.settings.training_settings import AugmentationSettings
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.training.checkpoint import read_checkpoint
from noah.training.loss import cross_entropy
from tests.noah.tiny_training import (
    EVERYTHING,
    PREPROCESSING,
    SPACE,
    StopAt,
    augmented_photos,
    photo_pixels,
    run_training,
    same_bits,
    settings,
    tiny_supernet,
    watched_forward,
    watched_steps,
)

pytestmark = pytest.mark.usefixtures("one_thread")

WORKERS = [0, pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason="processes are forked"))]
WEIGHTS = torch.tensor([0.2, 1.0, 5.0])


def test_without_augmentation_images_and_random_numbers_are_those_of_the_seed_alone(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    """What a training draws, written down once more: torch's seed, the order of the images, then the subnets."""
    supernet, pixels = tiny_supernet(tiny_backbone_file), photo_pixels()
    drawn: list[Subnet] = []
    torch_states: list[bytes] = []

    def draw(rng: np.random.Generator) -> Subnet:
        torch_states.append(torch.get_rng_state().numpy().tobytes())
        drawn.append(sample(SPACE, rng))
        return drawn[-1]

    with watched_forward(supernet) as passes:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=2, batch_size=10), pixels=pixels, draw=draw)
    seen = iter(zip(passes, drawn, strict=True))
    for epoch in range(2):
        rng = np.random.default_rng([0, 1, 1 + epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        assert torch_states[3 * epoch] == torch.get_rng_state().numpy().tobytes()
        order = rng.permutation(24)
        for indices in (order[:10], order[10:20], order[20:]):
            (images, _), subnet = next(seen)
            assert images.numpy().tobytes() == PREPROCESSING.normalize(pixels.batch(indices)).tobytes()
            assert subnet == sample(SPACE, rng)


def test_augmentation_leaves_the_other_random_numbers_alone(tiny_backbone_file: Path, tmp_path: Path) -> None:
    """Order, subnets and torch's generator are those of a training without it."""
    states: dict[bool, list[Any]] = {}
    for augmented in (False, True):
        found = states.setdefault(augmented, [])

        def draw(rng: np.random.Generator, found: list[Any] = found) -> Subnet:
            found.append((torch.initial_seed(), str(rng.bit_generator.state)))
            return sample(SPACE, rng)

        training = settings(epochs=2, augmentation=EVERYTHING if augmented else AugmentationSettings())
        path = tmp_path / f"{augmented}.safetensors"
        pixels = augmented_photos() if augmented else photo_pixels()
        run_training(tiny_supernet(tiny_backbone_file), path, training, pixels=pixels, draw=draw)
    assert states[False] == states[True]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("done", [1, 2])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(
    tiny_backbone_file: Path, tmp_path: Path, done: int, workers: int
) -> None:
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    training = settings(batch_size=7, augmentation=EVERYTHING)
    losses = run_training(tiny_supernet(tiny_backbone_file), straight, training, pixels=augmented_photos())
    with pytest.raises(KeyboardInterrupt):
        run_training(
            tiny_supernet(tiny_backbone_file),
            stopped,
            training,
            pixels=augmented_photos(workers=workers),
            bar=StopAt(done),
        )
    assert read_checkpoint(stopped).losses == tuple(losses[:done])
    torch.manual_seed(99)
    np.random.seed(99)
    fresh = tiny_supernet(tiny_backbone_file, seed=99)
    with watched_steps() as steps:
        assert run_training(fresh, stopped, training, pixels=augmented_photos(workers=workers)) == losses
    assert len(steps) == 4 * (3 - done)
    assert stopped.read_bytes() == straight.read_bytes()
    assert same_bits(fresh.trainable_state(), read_checkpoint(straight).weights)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny_backbone_file: Path, tmp_path: Path) -> None:
    content = []
    for number, seed in enumerate([(0, 1), (0, 1), (1, 1), (0, 2)]):
        path = tmp_path / f"{number}.safetensors"
        torch.manual_seed(number)
        np.random.seed(number)
        training = settings(epochs=2, augmentation=EVERYTHING)
        run_training(tiny_supernet(tiny_backbone_file), path, training, pixels=augmented_photos(), seed=seed)
        content.append(path.read_bytes())
    assert content[0] == content[1]
    assert len(set(content)) == 3


def test_an_image_is_augmented_differently_in_each_epoch(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    crops = AugmentationSettings(random_resized_crop=(0.3, 0.9))
    with watched_forward(supernet) as passes:
        training = settings(epochs=2, augmentation=crops)
        run_training(supernet, tmp_path / "c.safetensors", training, pixels=augmented_photos(crops))
    seen = {image.numpy().tobytes() for images, _ in passes for image in images}
    assert len(seen) == 2 * 24


def test_erasing_and_mixing_need_no_augmented_pixels(tiny_backbone_file: Path, tmp_path: Path) -> None:
    pixels, mixed = photo_pixels(), AugmentationSettings(random_erasing=0.25, mixup=0.8, cutmix=1.0)
    supernet = tiny_supernet(tiny_backbone_file)
    with watched_forward(supernet) as passes:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1, augmentation=mixed), pixels=pixels)
    order = np.random.default_rng([0, 1, 1])
    order.integers(2**63)
    indices = order.permutation(24)[:8]
    expected, _ = BatchAugmentation(mixed, 3).apply(
        to_images(pixels.batch(indices), PREPROCESSING, torch.device("cpu")),
        torch.from_numpy(pixels.labels[indices]),
        (0, 1, 1, 2, 1),
    )
    assert torch.equal(passes[0][0], expected)


def test_augmentation_of_images_is_never_left_out_unnoticed(tiny_backbone_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="these pixels do not change"):
        run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c.safetensors", settings(augmentation=EVERYTHING))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_loss_is_that_of_the_mixed_labels(
    tiny_backbone_file: Path, tmp_path: Path, weights: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last batch holds a single image."""
    targets: list[Tensor] = []
    apply = BatchAugmentation.apply

    def record(self: BatchAugmentation, *arguments: Any) -> tuple[Tensor, Tensor]:
        images, mixed = apply(self, *arguments)
        targets.append(mixed)
        return images, mixed

    monkeypatch.setattr(BatchAugmentation, "apply", record)
    supernet = tiny_supernet(tiny_backbone_file)
    training = settings(epochs=1, batch_size=23, label_smoothing=0.1, augmentation=EVERYTHING)
    with watched_forward(supernet) as passes:
        losses = run_training(
            supernet, tmp_path / "c.safetensors", training, pixels=augmented_photos(), class_weights=weights
        )
    assert [len(images) for images, _ in passes] == [23, 1]
    total = 0.0
    for (_, logits), shares in zip(passes, targets, strict=True):
        assert ((shares > 0).sum(dim=1) > 1).any() == (len(shares) > 1)
        total += len(shares) * weighted_loss(logits, shares, weights, 0.1)
    assert losses == pytest.approx([total / 24], rel=1e-5)


def weighted_loss(logits: Tensor, shares: Tensor, weights: Tensor | None, smoothing: float) -> float:
    log, t = log_softmax(logits.double().numpy(), axis=1), shares.double().numpy()
    w = np.ones(t.shape[1]) if weights is None else weights.double().numpy()
    smooth = (1 - smoothing) * t + smoothing / t.shape[1]
    return float(-(w * smooth * log).sum() / (w * t).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_labels_as_rows_with_a_single_one_have_the_loss_of_the_labels(weights: Tensor | None, smoothing: float) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(9, 3), torch.arange(9) % 3
    rows = torch.nn.functional.one_hot(labels, 3).float()
    torch.testing.assert_close(
        cross_entropy(logits, rows, weights, smoothing), cross_entropy(logits, labels, weights, smoothing)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_class_weights_the_loss_is_that_of_timm(smoothing: float) -> None:
    """timm smooths labels before it mixes them, and noah in the loss: the same, as both are linear."""
    torch.manual_seed(0)
    images, labels, logits = torch.randn(8, 3, 4, 4), torch.arange(8) % 3, torch.randn(8, 3)
    mix = Mixup(0.8, 1.0, label_smoothing=smoothing, num_classes=3)
    with seeded(0, 5):
        expected_images, soft = mix(images.clone(), labels)
    mixed, targets = BatchAugmentation(AugmentationSettings(mixup=0.8, cutmix=1.0), 3).apply(images, labels, (0, 5))
    assert torch.equal(mixed, expected_images)
    torch.testing.assert_close(
        cross_entropy(logits, targets, None, smoothing), SoftTargetCrossEntropy()(logits, soft), rtol=1e-6, atol=1e-6
    )
