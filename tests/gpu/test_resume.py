"""A training on the device that is killed goes on from its last epoch, and a whole run goes through all stages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from noah.hardware.device import Hardware
from noah.progress import Detail, Silent
from noah.stages.retrain_stage import evaluate_test, retrain
from noah.stages.search_stage import search
from noah.training.checkpoint import read_checkpoint
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, make_materials, start_run
from tests.noah.tiny_training import run_training, settings, tiny_supernet, watched_steps

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).parents[2]
EPOCHS, KILLED_AFTER = 4, 2


class KillAt:
    """A bar that kills its process, without grace, once so many epochs are done."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        if done == self.epochs:
            os.kill(os.getpid(), signal.SIGKILL)


def train_here(backbone: Path, checkpoint: Path, device: torch.device, bar: object = None) -> list[float]:
    supernet = tiny_supernet(backbone).to(device)
    hardware = Hardware(device, "fp32", 1, ())
    return run_training(supernet, checkpoint, settings(epochs=EPOCHS), hardware=hardware, bar=bar or Silent())


def test_a_training_that_was_killed_goes_on(tiny_backbone_file: Path, tmp_path: Path, device: torch.device) -> None:
    """To the bit on the CPU; a GPU adds up in an order that changes."""
    straight, killed = tmp_path / "straight.safetensors", tmp_path / "killed.safetensors"
    losses = train_here(tiny_backbone_file, straight, device)
    child = [sys.executable, "-m", "tests.gpu.test_resume", str(tiny_backbone_file), str(killed), device.type]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(child, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(read_checkpoint(killed).losses) == KILLED_AFTER
    with watched_steps() as steps:
        resumed = train_here(tiny_backbone_file, killed, device)
    assert len(steps) == 3 * (EPOCHS - KILLED_AFTER)
    if device.type == "cpu":
        assert resumed == losses and killed.read_bytes() == straight.read_bytes()
    else:
        assert resumed == pytest.approx(losses, rel=1e-2)


def test_a_run_goes_through_all_stages(tiny_settings: TinySettings, tmp_path: Path, device: torch.device) -> None:
    changes = {"hardware.device": device.type, "hardware.precision": "auto", "search.rerank": 2}
    told = Recorder()
    materials = make_materials(tiny_settings(changes), told)
    assert materials.hardware.device.type == device.type
    run = start_run(tmp_path, materials)
    search(run, materials, told)
    retrain(run, materials, told)
    found = evaluate_test(run, materials, told)
    assert found["accuracy"] > 0.4  # a guess among three classes has a third


if __name__ == "__main__":
    train_here(Path(sys.argv[1]), Path(sys.argv[2]), torch.device(sys.argv[3]), KillAt(KILLED_AFTER))
