"""A few real steps of each stage on the tiny backbone: that they are the run's own, and that nothing stays behind."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import Split
from noah.hardware.processes import ALONE
from noah.hardware.step_clock import TIMED, WARM_UP
from noah.prepare import trial_steps
from noah.prepare.trial_steps import try_evaluation, try_retraining, try_supernet_training
from noah.space.budget import parameter_budget
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, make_materials
from tests.opened import opened_paths

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = list(range(1, WARM_UP + TIMED + 1))
BUDGET = parameter_budget(14_000, 64)


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, in which temporary files would lie too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_memory_and_the_cores_of_the_machine_are_shared_as_in_the_run(
    tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 processes on this machine each may hold a quarter of what one may, and augment beside it with fewer."""
    limits, sharing = [], []

    def load(split: Split, preprocessing: Preprocessing, *, memory_limit: int) -> Pixels:
        limits.append(memory_limit / len(split))
        return load_pixels(split, preprocessing, memory_limit=memory_limit)

    def choose(asked: int | None, device: str, trainings: int = 1) -> tuple[int, str]:
        sharing.append(trainings)
        return 0, "as asked"

    monkeypatch.setattr(trial_steps, "available_memory", lambda: 54 * 8 * 10_000)
    monkeypatch.setattr(trial_steps, "load_pixels", load)
    monkeypatch.setattr(trial_steps, "choose_workers", choose)
    for local in (1, 4):
        for augmentation in ({}, {"horizontal_flip": 0.5}):
            materials = make_materials(tiny_settings({"supernet.augmentation": augmentation}))
            hardware = replace(materials.hardware, processes=replace(ALONE, local_count=local))
            try_supernet_training(replace(materials, hardware=hardware), Recorder())
        try_evaluation(replace(materials, hardware=hardware), BUDGET, Recorder())
    (alone_training, alone_validation), (training, validation) = limits[:2], limits[2:]
    assert (training, validation) == pytest.approx((alone_training / 4, alone_validation / 4), rel=0.01)
    assert sharing == [1, 4]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"supernet.sampling": "sandwich"},
        {"supernet.batch_size": 36},  # one step an epoch, with a checkpoint after each
        {"supernet.batch_size": 1000},
        {"supernet.augmentation": {"random_resized_crop": [0.5, 1.0], "mixup": 0.2}},
        {"supernet.augmentation": {"horizontal_flip": 0.5}, "hardware.augmentation_workers": 1},
        {"data.class_weights": "balanced"},
        {"hardware.precision": "bf16"},
    ],
    ids=["plain", "sandwich", "small", "smaller than a batch", "crops", "workers", "weights", "bf16"],
)
def test_enough_steps_of_the_supernets_training_are_timed_and_nothing_stays(
    tiny_settings: TinySettings, empty: Path, photo_folder: Path, changes: dict[str, object]
) -> None:
    materials = make_materials(tiny_settings(changes))
    weights = {name: value.clone() for name, value in materials.backbone.model.state_dict().items()}
    listener = Recorder()
    with opened_paths() as opened:
        trial = try_supernet_training(materials, listener)
    assert trial.step_seconds > 0
    assert trial.reading_seconds > 0
    assert listener.bars["timing the training of the supernet"] == STEPS
    assert list(empty.iterdir()) == []
    assert not [path for path in opened if photo_folder / "test" in (path, *path.parents)]
    torch.testing.assert_close(materials.backbone.model.state_dict(), weights, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [({}, 1), ({"supernet.sampling": "sandwich"}, 4), ({"supernet.sampling": "fair"}, 1)],
    ids=["uniform", "sandwich", "fair"],
)
def test_a_step_trains_as_many_subnets_as_in_the_run(
    tiny_settings: TinySettings, changes: dict[str, object], passes: int
) -> None:
    materials = make_materials(tiny_settings(changes))
    shapes = []
    embedding: Any = materials.backbone.model.patch_embed
    with embedding.register_forward_hook(lambda module, images, output: shapes.append(tuple(images[0].shape))):
        try_supernet_training(materials, Recorder())
    # Four batches of 8 and one of 4 are an epoch of the 36 images.
    assert shapes == [(size, 3, 32, 32) for size in (8, 8, 8, 8, 4, 8, 8) for _ in range(passes)]


def test_the_retraining_is_that_of_one_subnet_inside_the_budget(tiny_settings: TinySettings, empty: Path) -> None:
    listener = Recorder()
    trial = try_retraining(make_materials(tiny_settings()), BUDGET, listener)
    assert trial.step_seconds > 0
    assert listener.bars == {"timing the retraining": STEPS}
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("batch_size", [4, 18, 64])
def test_merging_and_evaluating_are_told_apart(tiny_settings: TinySettings, empty: Path, batch_size: int) -> None:
    materials = make_materials(tiny_settings({"hardware.evaluation_batch_size": batch_size}))
    listener = Recorder()
    trial = try_evaluation(materials, BUDGET, listener)
    assert trial.merge_seconds > 0
    assert trial.image_seconds > 0
    assert trial.reading_seconds > 0
    assert listener.bars == {"timing the search": STEPS}
    assert list(empty.iterdir()) == []
