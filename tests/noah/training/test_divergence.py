"""A training that goes wrong stops, says where and what to try, and leaves the last good epoch as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from noah.errors import TrainingError
from noah.hardware.device import Hardware, Precision
from noah.model.supernet import Supernet
from noah.training.checkpoint import read_checkpoint
from noah.training.divergence import LOOK_EVERY, lower_learning_rate
from tests.noah.tiny_training import StopAt, photo_pixels, run_training, settings, tiny_supernet, watched_steps

pytestmark = pytest.mark.usefixtures("one_thread")

REMEDY = "Choose a lower learning rate."
IN_BF16 = f"Try --precision fp32 first: with --resume it goes on from the last good epoch. {REMEDY}"
WILD = 1e30


def hardware(precision: Precision) -> Hardware:
    return Hardware(torch.device("cpu"), precision, 1, ())


@pytest.mark.parametrize(("precision", "hint"), [("fp32", REMEDY), ("bf16", IN_BF16)])
def test_the_step_and_the_epoch_are_told_and_the_epoch_before_stays(
    tiny_backbone_file: Path, tmp_path: Path, precision: Precision, hint: str
) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_training(
            tiny_supernet(tiny_backbone_file), path, settings(epochs=2), bar=StopAt(1), hardware=hardware(precision)
        )
    good = path.read_bytes()
    with pytest.raises(TrainingError) as raised:
        run_training(
            tiny_supernet(tiny_backbone_file),
            path,
            settings(epochs=2, learning_rate=WILD),
            hardware=hardware(precision),
        )
    assert re.fullmatch(r"The training loss is (nan|inf) at step [23] of 3 in epoch 2\.", raised.value.problem)
    assert raised.value.hint == hint
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]
    losses = run_training(tiny_supernet(tiny_backbone_file), path, settings(epochs=2), hardware=hardware("fp32"))
    assert losses[0] == read_checkpoint(path).losses[0]
    assert np.isfinite(losses).all()


def test_it_stops_long_before_the_end_of_a_long_epoch(tiny_backbone_file: Path, tmp_path: Path) -> None:
    wild = settings(epochs=1, batch_size=1, warmup_epochs=0, learning_rate=WILD)
    with watched_steps() as steps, pytest.raises(TrainingError, match="of 60 in epoch 1"):
        run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c.safetensors", wild, pixels=photo_pixels(20))
    assert len(steps) < LOOK_EVERY < 60


def test_a_backbone_that_gives_no_numbers_is_not_blamed_on_the_learning_rate(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    last_norm(supernet).fill_(float("nan"))
    with pytest.raises(TrainingError) as raised:
        run_training(supernet, tmp_path / "c.safetensors", settings())
    assert str(raised.value) == (
        "The training loss is nan at step 1 of 3 in epoch 1, before anything was learned.\n"
        "The backbone does not take these images: check its weights, mean and std."
    )


def last_norm(supernet: Supernet) -> torch.Tensor:
    """What the features that the head reads are scaled by."""
    return supernet.backbone.get_parameter("norm.weight").data


def test_weights_that_the_last_step_broke_are_not_kept(tiny_backbone_file: Path, tmp_path: Path) -> None:
    """One step an epoch: its loss is that of the start, and no later one tells what its gradients did."""
    supernet = tiny_supernet(tiny_backbone_file)
    supernet.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError) as raised:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1, batch_size=64, warmup_epochs=0))
    assert str(raised.value) == f"Weights are not finite at the end of epoch 1: head.weight.\n{REMEDY}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients_whose_squares_overflow_are_told(
    tiny_backbone_file: Path, tmp_path: Path, precision: Precision
) -> None:
    """AdamW would divide by infinity: every loss finite, and nothing learned."""
    supernet = tiny_supernet(tiny_backbone_file)
    last_norm(supernet).mul_(1e24)
    with pytest.raises(TrainingError) as raised:
        run_training(supernet, tmp_path / "c.safetensors", settings(epochs=1), hardware=hardware(precision))
    assert raised.value.problem.startswith(
        "Gradients are so large in epoch 1 that AdamW's averages of their squares overflow, after which these weights "
        "learn no more: "
    )
    assert raised.value.problem.endswith("or a backbone whose own outputs are this large.")
    assert (
        raised.value.hint
        == ("Try --precision fp32 first: with --resume it starts over. " if precision == "bf16" else "") + REMEDY
    )
    assert not list(tmp_path.iterdir())


def test_large_losses_that_are_finite_are_added_up_without_overflow(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    with torch.no_grad():
        supernet.head.bias[0] = 3e37
    still = settings(epochs=1, batch_size=8, warmup_epochs=0, learning_rate=1e-3)
    (loss,) = run_training(supernet, tmp_path / "c.safetensors", still)
    assert 1e37 < loss < 3e37


@pytest.mark.parametrize(
    ("rate", "lower"),
    [(1e30, "1e-4"), (1e-3, "1e-4"), (5e-4, "5e-5"), (1.5e-3, "1e-4"), (1e-4, "1e-5"), (2e-9, "2e-10")],
)
def test_the_learning_rate_to_try(rate: float, lower: str) -> None:
    assert lower_learning_rate(rate) == lower
    assert 0 < float(lower_learning_rate(rate)) < rate
