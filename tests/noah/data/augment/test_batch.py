from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noah.data.augment.batch import BatchAugmentation
from noah.settings.training_settings import AugmentationSettings
from tests.noah.global_random_state import set_global_state, unmoved_global_state

SIDE = 20
EVERYTHING = {"random_erasing": 0.5, "mixup": 0.8, "cutmix": 1.0}


def augmentation(classes: int = 10, **values: Any) -> BatchAugmentation:
    return BatchAugmentation(AugmentationSettings(**values), classes)


def batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Normal noise, and labels that are all different."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)), torch.arange(count)


def share_kept(targets: Tensor, index: int) -> float:
    """Lambda: the share of an image in its own label."""
    return float(targets[index, index])


def test_with_everything_off_nothing_changes() -> None:
    images, labels = batch(4)
    before = images.clone()
    with unmoved_global_state():
        changed, targets = augmentation().apply(images, labels, (1,))
    assert changed is images and targets is labels
    assert torch.equal(images, before)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_mixup_adds_two_images_by_lambda(count: int) -> None:
    even = count // 2 * 2
    for seed in range(1, 20):
        images, labels = batch(count)
        changed, targets = augmentation(mixup=0.8).apply(images.clone(), labels, (0, seed))
        assert (changed.dtype, targets.dtype, targets.shape) == (torch.float32, torch.float32, (count, 10))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(count))
        share = share_kept(targets, 0)
        assert 0 <= share <= 1
        for index in range(even):
            partner = even - 1 - index
            assert float(targets[index, partner]) == pytest.approx(1 - share, abs=1e-6)
            expected = share * images[index] + (1 - share) * images[partner]
            torch.testing.assert_close(changed[index], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_cutmix_puts_a_rectangle_of_one_minus_lambda_of_the_area(count: int) -> None:
    even, shares = count // 2 * 2, []
    for seed in range(1, 40):
        images, labels = batch(count)
        changed, targets = augmentation(cutmix=1.0).apply(images.clone(), labels, (0, seed))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(count))
        for index in range(even):
            partner = even - 1 - index
            taken = (changed[index] == images[partner]).all(dim=0)
            assert torch.equal(changed[index][:, ~taken], images[index][:, ~taken])
            rows, columns = taken.any(dim=1), taken.any(dim=0)
            assert torch.equal(taken, rows[:, None] & columns[None])  # a rectangle
            assert share_kept(targets, index) == pytest.approx(1 - float(taken.float().mean()), abs=1e-6)
            assert float(targets[index, partner]) == pytest.approx(float(taken.float().mean()), abs=1e-6)
        shares.append(share_kept(targets, 0))
    assert min(shares) < 0.4 and max(shares) > 0.6  # timm before 1.0.29 rounds the sides of rectangles down


@pytest.mark.parametrize("values", [{"mixup": 0.8}, {"cutmix": 1.0}])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_last_image_of_an_odd_batch_stays(values: dict[str, float], count: int) -> None:
    images, labels = batch(count)
    changed, targets = augmentation(**values).apply(images.clone(), labels, (0, 1))
    assert torch.equal(changed[-1], images[-1])
    assert torch.equal(targets[-1], torch.nn.functional.one_hot(labels[-1], 10).float())


def test_images_of_one_class_keep_their_label() -> None:
    images, _ = batch(6)
    _, targets = augmentation(mixup=0.8).apply(images, torch.full((6,), 3), (0, 1))
    torch.testing.assert_close(targets, torch.nn.functional.one_hot(torch.full((6,), 3), 10).float())


@pytest.mark.parametrize("alpha", [0.2, 0.8, 5.0])
def test_lambda_is_drawn_from_the_beta_distribution(alpha: float) -> None:
    augment = augmentation(2, mixup=alpha)
    shares = []
    for seed in range(1, 2001):
        _, targets = augment.apply(torch.zeros(2, 3, 1, 1), torch.tensor([0, 1]), (0, seed))
        shares.append(share_kept(targets, 0))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.04)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_a_coin_chooses_between_mixup_and_cutmix() -> None:
    cut = 0
    for seed in range(1, 201):
        images, labels = batch(2)
        changed, _ = augmentation(mixup=0.8, cutmix=1.0).apply(images.clone(), labels, (0, seed))
        cut += bool(((changed[0] == images[0]) | (changed[0] == images[1])).all())
    assert cut == pytest.approx(100, abs=25)


def test_erasing_puts_noise_into_a_rectangle() -> None:
    images, labels = batch(60)
    images = images + 100  # so that noise is told from the image
    changed, targets = augmentation(60, random_erasing=1.0).apply(images.clone(), labels, (0, 1))
    assert targets is labels
    noise, shares = [], []
    for before, after in zip(images, changed, strict=True):
        erased = (before != after).all(dim=0)
        assert torch.equal(after[:, ~erased], before[:, ~erased])
        rows, columns = erased.any(dim=1), erased.any(dim=0)
        assert torch.equal(erased, rows[:, None] & columns[None])
        shares.append(float(erased.float().mean()))
        noise.append(after[:, erased].flatten())
    assert min(shares) < 0.08 and 0.25 < max(shares) < 0.37
    values = torch.cat(noise)
    assert float(values.mean()) == pytest.approx(0, abs=0.05)
    assert float(values.std()) == pytest.approx(1, abs=0.05)


def test_erasing_happens_as_often_as_it_should() -> None:
    images, labels = batch(400)
    changed, _ = augmentation(400, random_erasing=0.25).apply(images.clone(), labels, (0, 3))
    erased = (changed != images).flatten(1).any(dim=1).sum()
    assert int(erased) == pytest.approx(100, abs=30)


@pytest.mark.parametrize("values", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(values: dict[str, float]) -> None:
    found = []
    for number, seed in enumerate([(0, 1), (0, 1), (0, 2), (1, 1)]):
        images, labels = batch(8)
        set_global_state(number)
        with unmoved_global_state():
            changed, targets = augmentation(**values).apply(images, labels, seed)
        found.append(changed.numpy().tobytes() + targets.numpy().tobytes())
    assert found[0] == found[1]
    assert len(set(found)) == 3
