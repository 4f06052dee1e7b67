"""Training with each way to draw the subnets of a step."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_pre_hook

from noah.progress import Silent
from noah.settings.training_settings import SupernetSettings
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import retrain
from noah.stages.search_stage import search
from noah.training.checkpoint import read_checkpoint
from noah.training.subnet_draws import SubnetDraw, cycle_length, draw_subnets, fair_subnet
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run
from tests.noah.tiny_training import (
    SPACE,
    StopAt,
    photo_pixels,
    run_training,
    settings,
    tiny_supernet,
    watched_forward,
    watched_steps,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLINGS = ["uniform", "fair", "sandwich"]


def draws(sampling: str, seen: list[Sequence[Subnet]] | None = None, **changes: int) -> SubnetDraw:
    """The draws of a training with the seed of `run_training`; what is drawn goes into `seen`."""
    chosen = SupernetSettings.model_validate({"epochs": 20, "learning_rate": 1e-2, "sampling": sampling, **changes})

    def draw(step: int, rng: np.random.Generator) -> Sequence[Subnet]:
        subnets = draw_subnets(SPACE, chosen, (0, 1), step, rng)
        if seen is not None:
            seen.append(subnets)
        return subnets

    return draw


@pytest.mark.parametrize(
    ("sampling", "count", "passes_a_step"),
    [("uniform", 2, 1), ("fair", 2, 1), ("sandwich", 0, 2), ("sandwich", 1, 3), ("sandwich", 2, 4)],
)
def test_a_step_passes_forward_once_for_each_of_its_subnets(
    tiny_backbone_file: Path, tmp_path: Path, sampling: str, count: int, passes_a_step: int
) -> None:
    supernet = tiny_supernet(tiny_backbone_file)
    with watched_forward(supernet) as passes, watched_steps() as steps:
        run_training(
            supernet,
            tmp_path / "c.safetensors",
            settings(epochs=2),
            draw_subnets=draws(sampling, sandwich_random=count),
        )
    assert (len(passes), len(steps)) == (6 * passes_a_step, 6)
    for step in range(6):  # all of the same images
        of_step = passes[step * passes_a_step : (step + 1) * passes_a_step]
        assert all(torch.equal(images, of_step[0][0]) for images, _ in of_step)


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("done", [1, 2])
def test_a_training_that_was_stopped_inside_a_cycle_goes_on_as_if_it_had_not(
    tiny_backbone_file: Path, tmp_path: Path, done: int, sampling: str
) -> None:
    fair_draws = {"uniform": 0, "fair": 1, "sandwich": 2}[sampling] * 3 * done
    assert sampling == "uniform" or fair_draws % cycle_length(SPACE)
    straight, stopped = tmp_path / "straight.safetensors", tmp_path / "stopped.safetensors"
    whole: list[Sequence[Subnet]] = []
    parts: list[Sequence[Subnet]] = []
    losses = run_training(tiny_supernet(tiny_backbone_file), straight, settings(), draw_subnets=draws(sampling, whole))
    with pytest.raises(KeyboardInterrupt):
        run_training(
            tiny_supernet(tiny_backbone_file),
            stopped,
            settings(),
            draw_subnets=draws(sampling, parts),
            bar=StopAt(done),
        )
    assert read_checkpoint(stopped).losses == tuple(losses[:done])
    torch.manual_seed(99)
    fresh = tiny_supernet(tiny_backbone_file, seed=99)
    assert run_training(fresh, stopped, settings(), draw_subnets=draws(sampling, parts)) == losses
    assert parts == whole
    assert stopped.read_bytes() == straight.read_bytes()


def test_a_cycle_goes_on_in_the_next_epoch(tiny_backbone_file: Path, tmp_path: Path) -> None:
    seen: list[Sequence[Subnet]] = []
    supernet, path = tiny_supernet(tiny_backbone_file), tmp_path / "c.safetensors"
    run_training(supernet, path, settings(epochs=6, batch_size=8), draw_subnets=draws("fair", seen))
    assert seen == [(fair_subnet(SPACE, (0, 1), step),) for step in range(18)]
    assert cycle_length(SPACE) == 8  # the last epoch's end lies inside the third cycle


def test_the_loss_of_a_sandwich_is_that_of_the_largest_subnet(tiny_backbone_file: Path, tmp_path: Path) -> None:
    supernet, pixels = tiny_supernet(tiny_backbone_file), photo_pixels()
    rng = np.random.default_rng([0, 1, 1])
    rng.integers(2**63)
    order = rng.permutation(24)
    with watched_forward(supernet) as passes:
        losses = run_training(
            supernet,
            tmp_path / "c.safetensors",
            settings(epochs=1),
            pixels=pixels,
            draw_subnets=draws("sandwich"),
        )
    labels = torch.from_numpy(pixels.labels[order])
    of_each = [F.cross_entropy(torch.cat([logits for _, logits in passes[n::4]]), labels).item() for n in range(4)]
    assert losses == pytest.approx(of_each[:1], rel=1e-5)
    assert all(loss != pytest.approx(of_each[0], rel=1e-3) for loss in of_each[1:])


def test_the_optimizer_is_given_the_sum_of_all_gradients_of_a_sandwich(
    tiny_backbone_file: Path, tmp_path: Path
) -> None:
    """The first step and the second, so that nothing of the first is left in the second."""
    supernet, pixels = tiny_supernet(tiny_backbone_file, dropout=0.0, drop_path=0.0), photo_pixels()
    copies, given = [], []

    def keep(*_: Any) -> None:
        copies.append(copy.deepcopy(supernet))
        trained = (parameter for parameter in supernet.parameters() if parameter.requires_grad and parameter.numel())
        given.append([parameter.grad.clone() for parameter in trained if parameter.grad is not None])

    seen: list[Sequence[Subnet]] = []
    hook = register_optimizer_step_pre_hook(keep)
    weights = torch.tensor([0.2, 1.0, 5.0])
    with watched_forward(supernet) as passes:
        run_training(
            supernet,
            tmp_path / "c.safetensors",
            settings(epochs=1, batch_size=12, label_smoothing=0.1),
            pixels=pixels,
            draw_subnets=draws("sandwich", seen),
            class_weights=weights,
        )
    hook.remove()
    rng = np.random.default_rng([0, 1, 1])
    rng.integers(2**63)
    order = rng.permutation(24)
    for step, (model, gradients) in enumerate(zip(copies, given, strict=True)):
        images, labels = passes[4 * step][0], torch.from_numpy(pixels.labels[order[12 * step : 12 * step + 12]])
        model.zero_grad()
        first, *others = (model.forward(images, subnet) for subnet in seen[step])
        loss = F.cross_entropy(first, labels, weight=weights, label_smoothing=0.1)
        for logits in others:
            loss = loss - (first.detach().softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1).mean()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter.numel()]
        for gradient, expected in zip(gradients, torch.autograd.grad(loss, trained), strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "sampling", [name if name == "uniform" else pytest.param(name, marks=pytest.mark.slow) for name in SAMPLINGS]
)
def test_a_folder_is_learned_above_chance(tiny_settings: TinySettings, tmp_path: Path, sampling: str) -> None:
    materials = make_materials(tiny_settings({"supernet.sampling": sampling, "supernet.epochs": 12}))
    run = start_run(tmp_path, materials)
    best = search(run, materials, Silent())
    losses = run.read_json("supernet", "losses.json")["losses"]
    assert losses[-1] < 0.5 * losses[0]
    # Of three classes; 18 images have a standard error of 11 %.
    assert (best["total"], best["accuracy"] > 0.7) == (18, True)


def test_the_setting_decides_how_a_run_trains_its_supernet_and_not_its_winner(
    tiny_settings: TinySettings, tmp_path: Path
) -> None:
    supernets, retrained = set(), set()
    for name, changes in (
        ("default", {}),
        ("uniform", {"supernet.sampling": "uniform", "supernet.sandwich_random": 3}),
        ("fair", {"supernet.sampling": "fair"}),
        ("sandwich", {"supernet.sampling": "sandwich"}),
        ("thinner", {"supernet.sampling": "sandwich", "supernet.sandwich_random": 1}),
    ):
        materials = make_materials(tiny_settings({"supernet.epochs": 1, "retrain.epochs": 1, **changes}))
        run = start_run(tmp_path, materials, name)
        search(run, materials, Silent())
        supernets.add(run.path("supernet", "checkpoint.safetensors").read_bytes())
        best = {**run.read_json("search", "best.json"), "subnet": materials.space.smallest.to_json()}
        run.write_json(best, "search", "best.json")  # the same winner for all
        retrain(run, materials, Silent())
        retrained.add(run.path("retrain", "checkpoint.safetensors").read_bytes())
    assert (len(supernets), len(retrained)) == (4, 1)


@pytest.mark.parametrize("sampling", ["fair", "sandwich"])
def test_a_search_that_was_interrupted_goes_on_as_if_nothing_had_been(
    tiny_settings: TinySettings, tmp_path: Path, sampling: str
) -> None:
    materials = make_materials(tiny_settings({"supernet.sampling": sampling}))
    whole, stopped = (start_run(tmp_path, materials, name) for name in ("whole", "stopped"))
    search(whole, materials, Silent())
    with pytest.raises(KeyboardInterrupt):
        search(stopped, materials, Recorder({"training the supernet": 1}))
    search(stopped, materials, Silent())
    assert content(stopped) == content(whole)
