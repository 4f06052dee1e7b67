"""A supernet that processes of a cluster train together, as torchrun would start them; and one of them that dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from noah.cluster.session import connect
from noah.prepare.run_budget import run_budget
from noah.progress import Detail, TrainingDetail
from noah.stages.spread_supernet import choose_trainers
from noah.stages.supernet_stage import train_supernet
from tests.conftest import TinySettings
from tests.noah.cluster.machines import machines, processes_of
from tests.noah.tiny_run import Recorder, make_materials, start_run

EPOCHS = 40


def training() -> list[psutil.Process]:
    """The processes of this test's cluster that do so."""
    return processes_of("_Ranked")


class Killing(Recorder):
    """Kills one of the processes once the first epoch is over."""

    killed = False
    losses: tuple[float, ...] = ()

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        super().update(done, text, detail)
        if isinstance(detail, TrainingDetail):
            self.losses = detail.losses
        if self._title == "training the supernet" and done >= 1 and not self.killed:
            self.killed = True
            training()[-1].kill()


@pytest.mark.slow
@pytest.mark.timeout(900)  # each process loads torch, which takes a minute of a busy core
def test_two_processes_train_together_and_go_on_when_one_dies(tmp_path: Path, tiny_settings: TinySettings) -> None:
    # Chance inside the networks differs from process to process.
    still = {"supernet.dropout": 0.0, "supernet.drop_path": 0.0}
    changes = {"supernet.epochs": EPOCHS, "hardware.threads": 1, **still}
    materials = make_materials(tiny_settings(changes))
    alone = start_run(tmp_path, materials, "alone")
    budget = run_budget(alone, materials)
    expected = train_supernet(alone, materials, budget, Recorder())

    materials = make_materials(tiny_settings(changes | {"hardware.trainers": 2}))
    run = start_run(tmp_path, materials, "together")
    with machines(2) as nodes, connect(nodes.address, Recorder()) as cluster:
        recorder = Killing()
        found = train_supernet(run, materials, budget, recorder, cluster=cluster)
        psutil.wait_procs(training(), timeout=30)
        assert not training()
    said = [line for line in recorder.said if line.split()[0] in ("trainers", "together", "retry")]
    assert said[0] == "trainers  2 (as set)"
    assert said[1] == said[3] == "together  2 training processes on 2 machines (1 core each)"
    assert said[2].startswith("retry     ") and said[2].endswith("so all 2 training processes are started again")

    losses = [each.read_json("supernet", "losses.json")["losses"] for each in (alone, run)]
    assert len(losses[1]) == EPOCHS and np.allclose(*losses, rtol=1e-4)
    assert np.allclose(recorder.losses, losses[1])
    state = expected.state_dict()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("asked", "device", "gpus", "count", "reason"),
    [
        (None, "cuda", 8, 8, "one for each GPU; they share every batch"),
        (None, "cuda", 1, 1, "the cluster has not several GPUs"),
        (None, "cpu", 8, 1, "the cluster has not several GPUs"),
        (3, "cpu", 0, 3, "as set"),
        (1, "cuda", 8, 1, "as set"),
        (999, "cuda", 8, 8, "999 would be more than a batch has images"),
    ],
)
def test_how_many_train_it(
    tiny_settings: TinySettings, asked: int | None, device: str, gpus: int, count: int, reason: str
) -> None:
    materials = make_materials(tiny_settings({"hardware.trainers": asked, "supernet.batch_size": 8}))
    materials = replace(materials, hardware=replace(materials.hardware, device=torch.device(device)))
    cluster: Any = SimpleNamespace(gpus=lambda: float(gpus))
    assert choose_trainers(materials, materials.settings.supernet, cluster) == (count, reason)
    assert choose_trainers(materials, materials.settings.supernet, None)[0] == 1
