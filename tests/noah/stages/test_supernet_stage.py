"""The supernet's training under a time limit: fewer epochs, which are stored and obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noah.model.supernet import Supernet
from noah.prepare.build import load_supernet
from noah.prepare.context import Materials
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages import supernet_stage
from noah.stages.supernet_stage import train_supernet
from noah.training.checkpoint import read_checkpoint
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

TITLE = "training the supernet"


def make(tiny_settings: TinySettings, epochs: int, **changes: float) -> Materials:
    training = {"epochs": epochs, "warmup_epochs": 1 if epochs > 1 else 0} | changes
    return make_materials(tiny_settings({f"supernet.{name}": value for name, value in training.items()}))


def train(run: Run, materials: Materials, listener: Recorder, time_limit: float | None = None) -> Supernet:
    return train_supernet(run, materials, run_budget(run, materials), listener, time_limit=time_limit)


def losses(run: Run) -> list[float]:
    stored = read_checkpoint(run.path("supernet", "checkpoint.safetensors"))
    assert run.read_json("supernet", "losses.json")["losses"] == list(stored.losses)
    return list(stored.losses)


def planning(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Let a limited time be enough for so many epochs, whatever this machine is doing."""
    monkeypatch.setattr(supernet_stage, "plan_epochs", lambda *_: epochs)


def test_a_supernet_that_has_hardly_learned_is_told(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make(tiny_settings, 1, learning_rate=1e-9, minimum_learning_rate=0.0)
    run, listener = start_run(tmp_path, materials), Recorder()
    train(run, materials, listener)
    (said,) = listener.said
    assert said.startswith("WARNING   The supernet has hardly learned: its loss is ")
    last = json.loads(run.path("log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], f"WARNING   {last['warning']}") == ("finished", said)


def test_without_a_limit_there_is_no_plan(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make(tiny_settings, 2)
    run = start_run(tmp_path, materials)
    listener = Recorder()
    supernet = train(run, materials, listener)
    assert not supernet.training
    assert len(losses(run)) == 2
    assert TITLE in listener.bars
    assert all("hardly learned" in line for line in listener.said)
    assert not run.path("supernet", "plan.json").exists()
    # What is done is loaded, with a limit too.
    listener = Recorder()
    again = train(run, materials, listener, time_limit=60)
    assert listener.bars == {}
    assert not again.training
    loaded = load_supernet(run, materials).trainable_state()
    assert all(value.equal(loaded[name]) for name, value in again.trainable_state().items())


def test_a_limit_chooses_the_epochs_tells_them_and_leaves_time(tiny_settings: TinySettings, tmp_path: Path) -> None:
    """By real timings."""
    materials = make(tiny_settings, 10**6)
    run = start_run(tmp_path, materials)
    listener = Recorder()
    train(run, materials, listener, time_limit=2.0)
    plan = run.read_json("supernet", "plan.json")
    assert 1 <= plan["epochs"] == len(losses(run)) < 10**6
    assert any(line.startswith("epochs    ") and "of 1000000: one takes about" in line for line in listener.said)
    # Its learning rate has fallen to the end: the training counts as whole.
    listener = Recorder()
    train(run, materials, listener)
    assert listener.bars == {}


def test_a_limit_that_is_long_enough_changes_nothing(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make(tiny_settings, 2)
    free, limited = (start_run(tmp_path, materials, name) for name in ("free", "limited"))
    train(free, materials, Recorder())
    listener = Recorder()
    train(limited, materials, listener, time_limit=3600)
    assert losses(free) == losses(limited)
    assert not limited.path("supernet", "plan.json").exists()
    assert not any(line.startswith("epochs") for line in listener.said)


def test_a_resumed_training_obeys_the_plan(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning(monkeypatch, 3)
    materials = make(tiny_settings, 6)
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt):
        train(run, materials, Recorder({TITLE: 1}), time_limit=3600)
    assert run.read_json("supernet", "plan.json")["epochs"] == 3
    train(run, materials, Recorder())
    # The same as if three had been asked for, with as large a share of warm-up.
    short = make_materials(tiny_settings({"supernet.epochs": 3, "supernet.warmup_epochs": 0.5}))
    other = start_run(tmp_path, short, "other")
    train_supernet(other, short, run_budget(other, short), Silent())
    assert losses(run) == losses(other)


def test_epochs_that_are_done_count_beside_those_that_fit(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    materials = make(tiny_settings, 6)
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt):
        train(run, materials, Recorder({TITLE: 3}))
    planning(monkeypatch, 2)
    train(run, materials, Recorder(), time_limit=3600)
    assert len(losses(run)) == run.read_json("supernet", "plan.json")["epochs"] == 5


def test_a_training_that_is_slower_than_planned_stops_at_an_epoch(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning(monkeypatch, 10**6)
    materials = make(tiny_settings, 10**6)
    run = start_run(tmp_path, materials)
    listener = Recorder()
    train(run, materials, listener, time_limit=1.0)
    done = len(losses(run))
    assert 1 <= done < 10**6
    assert f"stopped   after {done} of 1000000 epochs, to leave time for the search" in listener.said
    assert run.read_json("supernet", "plan.json")["epochs"] == done
    listener = Recorder()
    train(run, materials, listener)
    assert listener.bars == {}
