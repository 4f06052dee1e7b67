from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from noah.errors import RunError
from noah.training.averaging import AveragedWeights
from noah.training.checkpoint import load_weights, read_checkpoint
from tests.noah.tiny_training import photo_pixels, run_training, same_bits, settings, tiny_supernet

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = photo_pixels()
STEPS = 3  # of 24 images in batches of 8


def test_the_weights_are_the_average_over_the_steps(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    expected = {name: value.double() for name, value in supernet.trainable_state().items()}
    taken = 0

    def watch(*_: Any) -> None:
        nonlocal taken
        decay = min(1 - 1 / (2 * STEPS), (1 + taken) / (10 + taken))
        for name, value in supernet.trainable_state().items():
            expected[name] += (1 - decay) * (value.double() - expected[name])
        taken += 1

    handle = register_optimizer_step_post_hook(watch)
    run_training(supernet, tmp_path / "c", settings(epochs=4, average_epochs=2), pixels=PIXELS)
    handle.remove()
    assert taken == 4 * STEPS
    for name, value in supernet.trainable_state().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_other_weights_than_those_of_the_last_step_but_the_same_losses(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    found = []
    for name, epochs in (("last", 0), ("average", 1)):
        supernet = tiny_supernet(tiny_backbone_file)
        losses = run_training(supernet, tmp_path / name, settings(average_epochs=epochs), pixels=PIXELS)
        found.append((losses, supernet.trainable_state()))
    assert found[0][0] == found[1][0]
    assert not same_bits(found[0][1], found[1][1])


def test_an_interrupted_training_ends_with_the_same_bits(tiny_backbone_file: Path, tmp_path: Path) -> None:
    whole, again = tiny_supernet(tiny_backbone_file), tiny_supernet(tiny_backbone_file)
    training = settings(epochs=3, average_epochs=1)
    run_training(whole, tmp_path / "whole", training, pixels=PIXELS)
    asked = iter([False] * (STEPS + 3) + [True])
    run_training(again, tmp_path / "cut", training, pixels=PIXELS, leave=lambda: next(asked))
    assert not same_bits(whole.trainable_state(), again.trainable_state())
    fresh = tiny_supernet(tiny_backbone_file)
    run_training(fresh, tmp_path / "cut", training, pixels=PIXELS)
    assert same_bits(whole.trainable_state(), fresh.trainable_state())
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    finished = tiny_supernet(tiny_backbone_file)  # nothing is left to do
    run_training(finished, tmp_path / "cut", training, pixels=PIXELS)
    assert same_bits(whole.trainable_state(), finished.trainable_state())


def test_whoever_loads_the_checkpoint_gets_the_averages(tiny_backbone_file: Path, tmp_path: Path) -> None:
    trained, loaded = tiny_supernet(tiny_backbone_file), tiny_supernet(tiny_backbone_file, seed=1)
    run_training(trained, tmp_path / "c", settings(average_epochs=1), pixels=PIXELS)
    load_weights(read_checkpoint(tmp_path / "c"), loaded)
    assert same_bits(trained.trainable_state(), loaded.trainable_state())


def test_a_checkpoint_without_averages_is_refused(tiny_backbone_file: Path, tmp_path: Path) -> None:
    run_training(tiny_supernet(tiny_backbone_file), tmp_path / "c", settings(epochs=1), pixels=PIXELS)
    shutil.copy(tmp_path / "c", tmp_path / "d")
    with pytest.raises(RunError, match="averaged weights are others"):
        run_training(
            tiny_supernet(tiny_backbone_file), tmp_path / "d", settings(epochs=2, average_epochs=1), pixels=PIXELS
        )


def test_the_start_is_soon_forgotten(tiny_backbone_file: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    averaged = AveragedWeights(supernet, 1000)
    with torch.no_grad():
        supernet.head.weight.zero_()
    for taken in range(20):
        averaged.update(taken)
    assert averaged.state()["head.weight"].abs().max() < 1e-6
