from __future__ import annotations

from pathlib import Path

import pytest
import torch
from numpy.random import Generator

from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.training.checkpoint import read_checkpoint
from tests.noah.tiny_training import SPACE, StopAt, run_training, same_bits, settings, tiny_supernet, watched_steps

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("done", [1, 2])
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(
    tiny_backbone_file: Path, tmp_path: Path, done: int
) -> None:
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    losses = run_training(tiny_supernet(tiny_backbone_file), straight, settings())
    with pytest.raises(KeyboardInterrupt):
        run_training(tiny_supernet(tiny_backbone_file), stopped, settings(), bar=StopAt(done))
    assert read_checkpoint(stopped).losses == tuple(losses[:done])
    torch.manual_seed(99)
    fresh = tiny_supernet(tiny_backbone_file, seed=99)
    with watched_steps() as steps:
        assert run_training(fresh, stopped, settings()) == losses
    assert len(steps) == 3 * (3 - done)
    assert stopped.read_bytes() == straight.read_bytes()
    assert same_bits(fresh.trainable_state(), read_checkpoint(straight).weights)


def test_an_epoch_that_was_cut_short_is_taken_again(tiny_backbone_file: Path, tmp_path: Path) -> None:
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    run_training(tiny_supernet(tiny_backbone_file), straight, settings())
    draws = iter(range(5))

    def draw(rng: Generator) -> Subnet:
        if next(draws, None) is None:
            raise KeyboardInterrupt
        return sample(SPACE, rng)

    with pytest.raises(KeyboardInterrupt):
        run_training(tiny_supernet(tiny_backbone_file), stopped, settings(), draw=draw)
    run_training(tiny_supernet(tiny_backbone_file, seed=5), stopped, settings())
    assert stopped.read_bytes() == straight.read_bytes()


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 8, 9])
def test_a_training_that_is_left_keeps_its_whole_epochs(tiny_backbone_file: Path, tmp_path: Path, steps: int) -> None:
    """Three steps an epoch; what was left goes on as what was interrupted."""
    straight, left = tmp_path / "straight.safetensors", tmp_path / "left.safetensors"
    losses = run_training(tiny_supernet(tiny_backbone_file), straight, settings())
    with watched_steps() as taken:
        kept = run_training(tiny_supernet(tiny_backbone_file), left, settings(), leave=lambda: len(taken) >= steps)
    assert len(taken) == steps
    assert kept == losses[: steps // 3]
    assert left.exists() == (steps >= 3)
    assert run_training(tiny_supernet(tiny_backbone_file), left, settings()) == losses
    assert left.read_bytes() == straight.read_bytes()


def test_a_finished_training_is_only_loaded(tiny_backbone_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    losses = run_training(tiny_supernet(tiny_backbone_file), path, settings())
    content = path.read_bytes()
    other = tiny_supernet(tiny_backbone_file, seed=3)
    with watched_steps() as steps:
        assert run_training(other, path, settings()) == losses
    assert steps == []
    assert path.read_bytes() == content
    assert same_bits(other.trainable_state(), read_checkpoint(path).weights)
