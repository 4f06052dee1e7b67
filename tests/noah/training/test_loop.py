from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from noah.errors import RunError
from noah.evaluation.score import compute_logits, score
from noah.hardware.device import Hardware
from noah.model.supernet import Supernet
from noah.prepare.context import seed_torch
from noah.settings.training_settings import AugmentationSettings
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.training.loss import balanced_weights
from tests.noah.tiny_training import (
    BLOCKS,
    CPU,
    PREPROCESSING,
    SPACE,
    photo_pixels,
    run_training,
    same_bits,
    settings,
    tiny_supernet,
    watched_forward,
    watched_steps,
)

pytestmark = pytest.mark.usefixtures("one_thread")

FULL = SPACE.largest
WITHOUT_PROMPTS = Subnet.uniform(BLOCKS, lora=4, adapter=4)


def test_the_loss_falls_on_separable_images(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    losses = run_training(supernet, tmp_path / "c.safetensors", settings(epochs=10))
    assert len(losses) == 10
    assert losses[-1] < 0.4 * losses[0]
    unseen = photo_pixels(seed=5)
    logits = compute_logits(lambda images: supernet(images, FULL), unseen, PREPROCESSING, CPU, 8)
    assert score(logits, unseen.labels).accuracy > 0.9


def test_the_backbone_stays_bit_for_bit_and_in_evaluation_mode(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    before = {name: value.clone() for name, value in supernet.backbone.state_dict().items()}
    modes: list[tuple[bool, bool]] = []

    def draw(rng: Generator) -> Subnet:
        modes.append((supernet.training, any(part.training for part in supernet.backbone.modules())))
        return sample(SPACE, rng)

    run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1), draw=draw)
    assert set(modes) == {(True, False)}
    assert same_bits(before, supernet.backbone.state_dict())
    assert all(parameter.grad is None for parameter in supernet.backbone.parameters())


def test_dropout_and_drop_path_of_the_backbone_stay_off_in_training() -> None:
    torch.manual_seed(0)
    backbone = timm.create_model(
        "test_vit", img_size=32, num_classes=0, drop_path_rate=0.9, proj_drop_rate=0.9, attn_drop_rate=0.9
    )
    supernet = Supernet(backbone, FULL, num_classes=3).train()
    images = torch.randn(2, 3, 32, 32)
    first, second = supernet(images, FULL), supernet(images, FULL)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, supernet.eval()(images, FULL), rtol=1e-5, atol=1e-6)


def test_training_starts_from_the_function_of_the_backbone(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file, drop_path=0.0)
    head = {name: value.clone() for name, value in supernet.head.state_dict().items()}
    with watched_forward(supernet) as passes:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1), draw=lambda _: WITHOUT_PROMPTS)
    images, logits = passes[0]
    with torch.no_grad():
        features = supernet.backbone(images)
    torch.testing.assert_close(logits, features @ head["weight"].T + head["bias"], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits, passes[-1][1], atol=0.1)


def cross_entropy(logits: Tensor, labels: np.ndarray, weights: np.ndarray, smoothing: float = 0.0) -> float:
    """Weighted mean of the label's cross-entropy; smoothing spreads a share of it over all classes."""
    log = log_softmax(logits.double().numpy(), axis=1)
    own = -(log * weights)[np.arange(len(labels)), labels].sum()
    spread = -(log * weights).mean(axis=1).sum()
    return float(((1 - smoothing) * own + smoothing * spread) / weights[labels].sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (0.2, 1.0, 5.0)])
def test_the_loss_is_the_weighted_and_smoothed_cross_entropy(
    tiny_backbone_file: Path, tmp_path: Path, smoothing: float, weights: tuple[float, ...] | None
) -> None:
    supernet, pixels = tiny_supernet(tiny_backbone_file), photo_pixels(4)
    with watched_forward(supernet) as passes:
        losses = run_training(
            supernet,
            tmp_path / "c.safetensors",
            settings(epochs=1, batch_size=5, label_smoothing=smoothing),
            pixels=pixels,
            class_weights=None if weights is None else torch.tensor(weights),
        )
    stored = PREPROCESSING.normalize(pixels.batch(np.arange(len(pixels))))
    total = 0.0
    for images, logits in passes:
        labels = np.array([pixels.labels[np.abs(stored - image).sum((1, 2, 3)).argmin()] for image in images.numpy()])
        total += len(images) * cross_entropy(logits, labels, np.array(weights or (1.0, 1.0, 1.0)), smoothing)
    assert [len(images) for images, _ in passes] == [5, 5, 2]
    assert losses == pytest.approx([total / 12], rel=1e-5)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_balanced_weights_are_those_of_scikit_learn(drawn: list[int]) -> None:
    labels = np.array([*drawn, 0, 1, 2, 3, 4])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 5).numpy(), expected, rtol=1e-6)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_a_class_without_images_weighs_nothing_and_changes_no_other(drawn: list[int]) -> None:
    labels = np.array(drawn)
    present = np.unique(labels)
    expected = np.zeros(5)
    expected[present] = compute_class_weight("balanced", classes=present, y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 5).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "batch_size", "warmup"), [(4, 8, 0.0), (4, 8, 1.0), (5, 7, 0.5), (3, 24, 2.0), (3, 5, 2.9)]
)
def test_the_learning_rate_is_a_linear_warm_up_then_a_cosine(
    tiny_backbone_file: Path, tmp_path: Path, epochs: int, batch_size: int, warmup: float
) -> None:
    """One cosine over the whole training; the warm-up replaces its first steps."""
    training = settings(
        epochs=epochs,
        batch_size=batch_size,
        warmup_epochs=warmup,
        learning_rate=3e-3,
        warmup_learning_rate=1e-6,
        minimum_learning_rate=1e-5,
    )
    with watched_steps() as steps:
        run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c.safetensors", training)
    total, warm = epochs * math.ceil(24 / batch_size), round(warmup * math.ceil(24 / batch_size))
    expected = [
        1e-6 + (3e-3 - 1e-6) * t / warm if t < warm else 1e-5 + (3e-3 - 1e-5) * (1 + math.cos(math.pi * t / total)) / 2
        for t in range(total)
    ]
    for group in (0, 1):
        assert [step[group]["lr"] for step in steps] == pytest.approx(expected, rel=1e-9)


def test_matrices_decay_and_biases_do_not(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    with watched_steps() as steps:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1, weight_decay=0.07))
    decayed = {id(p): group["weight_decay"] for group in steps[0] for p in group["params"]}
    trainable = {name: p for name, p in supernet.named_parameters() if not name.startswith("backbone.")}
    assert decayed == {id(p): 0.0 if name.endswith("bias") else 0.07 for name, p in trainable.items()}


def test_every_image_is_seen_once_an_epoch_and_the_last_batch_may_be_smaller(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    supernet, pixels = tiny_supernet(tiny_backbone_file), photo_pixels(6)
    with watched_forward(supernet) as passes:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=2, batch_size=7), pixels=pixels)
    assert [len(images) for images, _ in passes] == [7, 7, 4, 7, 7, 4]
    stored = sorted(image.tobytes() for image in PREPROCESSING.normalize(pixels.batch(np.arange(18))))
    orders = []
    for epoch in (passes[:3], passes[3:]):
        seen = [image.numpy().tobytes() for images, _ in epoch for image in images]
        assert sorted(seen) == stored
        orders.append(seen)
    assert orders[0] != orders[1]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny_backbone_file: Path, tmp_path: Path) -> None:
    content = []
    for number, seed in enumerate([(0, 1), (0, 1), (1, 1), (0, 2)]):
        path = tmp_path / f"{number}.safetensors"
        torch.manual_seed(number)  # whatever was drawn before has no influence
        run_training(tiny_supernet(tiny_backbone_file), path, settings(epochs=2), seed=seed)
        content.append(path.read_bytes())
    assert content[0] == content[1]
    assert len(set(content)) == 3


def test_no_epoch_shares_its_random_numbers_with_another_or_with_the_start(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    seed_torch(0, 1)
    seeds = [torch.initial_seed()]

    def draw(rng: Generator) -> Subnet:
        seeds.append(torch.initial_seed())
        return sample(SPACE, rng)

    training = settings(epochs=4, batch_size=24)
    run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c.safetensors", training, draw=draw, seed=(0, 1))
    assert len(set(seeds)) == len(seeds) == 5


def test_a_checkpoint_of_another_supernet_is_not_trained_on(tiny_backbone_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    run_training(tiny_supernet(tiny_backbone_file), path, settings(epochs=1))
    with pytest.raises(RunError, match="does not fit this run's modules"):
        run_training(tiny_supernet(tiny_backbone_file, WITHOUT_PROMPTS), path, settings())


def test_one_process_trains_in_several_precisions(tiny_backbone_file: Path, tmp_path: Path) -> None:
    losses = {}
    for number, precision in enumerate(["fp32", "bf16", "fp32"]):
        supernet = tiny_supernet(tiny_backbone_file)
        hardware = Hardware(torch.device("cpu"), precision, 1, ())  # type: ignore[arg-type]
        losses[number] = run_training(supernet, tmp_path / f"{number}.safetensors", settings(), hardware=hardware)
        assert {value.dtype for value in supernet.state_dict().values()} == {torch.float32}
    assert losses[0] == losses[2]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
    assert losses[1] != losses[0]


def test_soft_labels_stand_in_for_labels(tiny_backbone_file: Path, tmp_path: Path) -> None:
    pixels = photo_pixels()
    one_hot = np.eye(len(set(pixels.labels.tolist())), dtype=np.float32)[pixels.labels]
    found = {}
    for name, soft in (("labels", None), ("one-hot", one_hot), ("even", np.full_like(one_hot, 1 / one_hot.shape[1]))):
        supernet = tiny_supernet(tiny_backbone_file)
        found[name] = run_training(supernet, tmp_path / name, settings(epochs=2), pixels=pixels, soft_labels=soft)
    assert found["one-hot"] == pytest.approx(found["labels"], rel=1e-5)
    assert found["even"][-1] > math.log(one_hot.shape[1]) * 0.999  # no network does better than to say so


def test_soft_labels_belong_to_images_of_which_parts_are_erased_too(tiny_backbone_file: Path, tmp_path: Path) -> None:
    pixels = photo_pixels()
    one_hot = np.eye(len(set(pixels.labels.tolist())), dtype=np.float32)[pixels.labels]
    erasing = settings(epochs=2, augmentation=AugmentationSettings(random_erasing=0.5))
    found = [
        run_training(tiny_supernet(tiny_backbone_file), tmp_path / name, erasing, pixels=pixels, soft_labels=soft)
        for name, soft in (("labels", None), ("one-hot", one_hot))
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_soft_labels_of_images_that_are_mixed_are_refused(tiny_backbone_file: Path, tmp_path: Path) -> None:
    mixing = settings(epochs=1, augmentation=AugmentationSettings(mixup=0.5))
    soft = np.zeros((24, 3), np.float32)
    with pytest.raises(ValueError, match="soft labels belong to single images"):
        run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c", mixing, soft_labels=soft)
