"""Trainings that end once the loss on held-out images rises, stopped and resumed at every point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import SettingsError
from noah.evaluation.score import score
from noah.files.jsonl import append_line, read_lines
from noah.prepare.context import Materials
from noah.prepare.held_out import final_images
from noah.prepare.new_run import start_run
from noah.progress import Silent
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from noah.stages.early_stopping import EarlyStopping
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained, retrain
from noah.training.checkpoint import read_checkpoint
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content

pytestmark = pytest.mark.usefixtures("one_thread")

TITLE = "training the subnet"
CHANGES = {
    **{"retrain.hold_out": 1 / 3, "retrain.epochs": 8, "retrain.patience": 1},
    "retrain.learning_rate": 0.3,  # so high that the loss jumps
}
Begin = Callable[..., tuple[Run, Materials]]


@pytest.fixture
def begin(tiny_settings: TinySettings, tmp_path: Path) -> Begin:
    def begun(name: str, changes: dict[str, Any] | None = None) -> tuple[Run, Materials]:
        settings, origins = resolve([Layer(source="test", values=tiny_settings(CHANGES | (changes or {})))])
        return start_run(tmp_path, settings, origins, Silent(), name=name, subnet="lora:2")

    return begun


def seen(path: Path, losses: list[float], patience: int, materials: Any) -> EarlyStopping:
    """A watch that has seen these losses."""
    for loss in losses:
        append_line(path / "held_out_losses.jsonl", {"loss": loss})
    nothing: Any = None
    return EarlyStopping(path / "checkpoint.safetensors", nothing, nothing, nothing, materials, patience)


def test_it_ends_early_with_the_weights_of_the_best_epoch(begin: Begin) -> None:
    run, materials = begin("first", {"retrain.epochs": 40})  # on some machine it may take a while to jump
    listener = Recorder()
    result = retrain(run, materials, listener)
    told = result["early_stopping"]
    losses = told["held_out_losses"]
    assert told["epochs"] == len(losses) == told["best_epoch"] + 1 < 40
    assert losses[told["best_epoch"] - 1] == min(losses)
    assert len(result["losses"]) == told["best_epoch"]
    assert any(
        line.startswith(f"stopped   after {len(losses)} of 40 epochs, back to epoch {told['best_epoch']},")
        for line in listener.said
    )
    model, subnet = load_retrained(run, materials)
    held_out = final_images(materials).held_out
    assert held_out is not None
    pixels = materials.pixels(held_out.stopping, "some", Silent())
    measured = score(merged_logits(model, subnet, pixels, materials), pixels.labels)
    assert measured.cross_entropy == pytest.approx(min(losses), abs=1e-6)


def test_a_training_that_ran_to_its_end_is_not_said_to_have_stopped(begin: Begin) -> None:
    run, materials = begin("whole", {"retrain.epochs": 3, "retrain.patience": 3})
    listener = Recorder()
    best = retrain(run, materials, listener)["early_stopping"]["best_epoch"]
    assert any(line.startswith(f"kept      epoch {best} of 3, with the lowest") for line in listener.said)
    assert not any(line.startswith("stopped") for line in listener.said)


def test_it_takes_the_steps_of_a_training_that_is_not_watched(begin: Begin) -> None:
    watched, materials = begin("watched", {"retrain.patience": 8})
    plain, same = begin("plain", {"retrain.patience": 0})
    losses = retrain(watched, materials, Silent())["losses"]
    assert retrain(plain, same, Silent())["losses"][: len(losses)] == losses
    assert len(read_lines(watched.path("retrain", "held_out_losses.jsonl"))) == 8


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_training_that_was_stopped_ends_where_it_would_have(begin: Begin, stop_at: int) -> None:
    whole, materials = begin("whole")
    retrain(whole, materials, Silent())
    run, materials = begin("stopped")
    with pytest.raises(KeyboardInterrupt):
        retrain(run, materials, Recorder({TITLE: stop_at}))
    retrain(run, materials, Silent())
    assert content(run)["retrain/held_out_losses.jsonl"] == content(whole)["retrain/held_out_losses.jsonl"]
    assert content(run)["retrain/checkpoint.safetensors"] == content(whole)["retrain/checkpoint.safetensors"]


def test_an_epoch_that_was_not_measured_is_measured_when_it_goes_on(begin: Begin) -> None:
    """The process died between the checkpoint and the loss."""
    whole, materials = begin("whole")
    retrain(whole, materials, Silent())
    run, materials = begin("stopped")
    with pytest.raises(KeyboardInterrupt):
        retrain(run, materials, Recorder({TITLE: 1}))
    losses = run.path("retrain", "held_out_losses.jsonl")
    losses.write_text("")
    run.path("retrain", "best.safetensors").unlink()
    retrain(run, materials, Silent())
    assert losses.read_bytes() == whole.path("retrain", "held_out_losses.jsonl").read_bytes()


def test_a_training_that_was_over_is_only_concluded(begin: Begin) -> None:
    """The process died after the best epoch's weights were put back."""
    run, materials = begin("first")
    first = retrain(run, materials, Silent())
    run.path("retrain", "model.json").unlink()
    listener = Recorder()
    assert retrain(run, materials, listener) == first
    assert listener.bars[TITLE] == []
    assert len(read_checkpoint(run.path("retrain", "checkpoint.safetensors")).losses) == len(first["losses"])


@pytest.mark.parametrize("stop_at", [None, 2])
def test_a_training_that_starts_again_has_seen_nothing(begin: Begin, stop_at: int | None) -> None:
    """Whether the first came to its end, or was stopped: without its checkpoint, another one begins."""
    whole, materials = begin("whole")
    result = retrain(whole, materials, Silent())
    run, materials = begin("again")
    if stop_at is None:
        retrain(run, materials, Silent())
        run.path("retrain", "model.json").unlink()
    else:
        with pytest.raises(KeyboardInterrupt):
            retrain(run, materials, Recorder({TITLE: stop_at}))
    run.path("retrain", "checkpoint.safetensors").unlink()
    listener = Recorder()
    assert retrain(run, materials, listener) == result
    assert listener.bars[TITLE] != []


@given(losses=st.lists(st.integers(0, 5).map(float), max_size=10), patience=st.integers(1, 4))
def test_it_is_over_after_so_many_epochs_without_a_new_lowest(
    tmp_path_factory: pytest.TempPathFactory, losses: list[float], patience: int
) -> None:
    settings, _ = resolve([])  # 100 epochs
    watch = seen(tmp_path_factory.mktemp("watch"), losses, patience, SimpleNamespace(settings=settings))
    lowest, since = float("inf"), 0
    for loss in losses:
        lowest, since = (loss, 0) if loss < lowest else (lowest, since + 1)
    assert watch.is_over == (since >= patience)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"patience": 2}, "needs images to stop by: set retrain.hold_out, such as to 0.1"),
        ({"patience": 2, "hold_out": 0.1, "average_epochs": 1}, "cannot go back to an epoch of averaged weights"),
    ],
)
def test_what_it_cannot_be_combined_with(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        resolve([Layer(source="--set", values={"retrain": values})])
