"""TensorBoard, read back with its own reader: what a run tells it, and that a run that goes on continues its log."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from noah.files.latest import DEFAULT_RUNS
from noah.progress import Silent
from noah.runs.folder import Run, open_run
from noah.stages.search_stage import search
from noah.trackers.listener import tracked
from noah.trackers.tracker import told_settings
from tests.commands import noah, run_python, write_settings
from tests.conftest import TinySettings
from tests.finished import EPOCHS, NAME, Finished
from tests.noah.tiny_run import Recorder, make_materials, start_run
from tests.noah.trackers.events import read_events, series

SUPERNET = "training the supernet"
"""Title of its bar."""


def content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tracked_run(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings) -> Path:
    """The folder of a run that was searched, retrained and tested, of which only the first command named a tracker."""
    folder = tmp_path_factory.mktemp("tracked")
    write_settings(folder, tiny_settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        searched = noah("search", "--run", "first", "--track", "tensorboard")
        assert searched.code == 0, searched.err
        assert "tracker tensorboard: tensorboard --logdir runs/shapes/first/trackers/tensorboard" in searched.words
        assert noah("retrain").code == 0
        assert noah("eval").code == 0
        before = len(read_events(folder / "runs" / NAME).Scalars("result/test_accuracy"))
        assert noah("eval").code == 0  # gives the stored result again
        assert len(read_events(folder / "runs" / NAME).Scalars("result/test_accuracy")) == before
    return folder / "runs" / NAME


@pytest.mark.parametrize(("stage", "file"), [("supernet", "supernet/losses.json"), ("retrain", "retrain/model.json")])
def test_every_epoch_of_a_training(tracked_run: Path, stage: str, file: str) -> None:
    events, losses = read_events(tracked_run), content(tracked_run / file)["losses"]
    assert series(events, f"{stage}/loss") == pytest.approx(dict(enumerate(losses, start=1)))
    speeds, rates = (series(events, f"{stage}/{name}") for name in ("images_per_second", "learning_rate"))
    assert list(speeds) == list(rates) == list(range(1, len(losses) + 1))
    assert min(speeds.values()) > 0
    assert 1e-2 > rates[1] > rates[2] > 1e-3  # of the last step of each epoch; the cosine falls


def test_every_candidate_whose_accuracy_is_known(tracked_run: Path) -> None:
    lines = (tracked_run / "search" / "candidates.jsonl").read_text(encoding="utf-8").splitlines()
    measured = {line["index"]: line for line in map(json.loads, lines) if line["shown"] is None}
    events = read_events(tracked_run)
    order = series(events, "search/candidate")
    assert sorted(order.values()) == sorted(measured)
    assert list(order) == list(range(1, len(measured) + 1))
    for name in ("accuracy", "parameters"):
        values = series(events, f"search/{name}")
        assert values == pytest.approx({step: measured[int(index)][name] for step, index in order.items()})
    best = list(series(events, "search/best_accuracy").values())
    assert best == sorted(best)
    assert best[-1] == pytest.approx(content(tracked_run / "search" / "best.json")["accuracy"])


def test_the_final_figures(tracked_run: Path) -> None:
    events = read_events(tracked_run)
    winner, test = content(tracked_run / "search" / "best.json"), content(tracked_run / "eval" / "test.json")
    for name, value in {
        "validation_accuracy": winner["accuracy"],
        "validation_cross_entropy": winner["cross_entropy"],
        "parameters": winner["parameters"],
        "test_accuracy": test["accuracy"],
        "test_cross_entropy": test["cross_entropy"],
    }.items():
        assert series(events, f"result/{name}") == pytest.approx({0: value}), name


def test_the_settings_to_read_and_to_sort_runs_by(tracked_run: Path) -> None:
    events = read_events(tracked_run)
    (text,) = (event.tensor_proto.string_val[0].decode() for event in events.Tensors("settings/text_summary"))
    assert yaml.safe_load(text) == yaml.safe_load((tracked_run / "run.yaml").read_text(encoding="utf-8"))["settings"]
    stored = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = HParamsPluginData.FromString(stored).session_start_info.hparams
    assert hparams["supernet.epochs"].number_value == 2
    assert hparams["space.preset"].string_value == "paper"


def test_the_run_says_that_it_was_tracked(tracked_run: Path) -> None:
    assert yaml.safe_load((tracked_run / "run.yaml").read_text())["settings"]["trackers"] == ["tensorboard"]
    lines = [json.loads(line) for line in (tracked_run / "log.jsonl").read_text().splitlines()]
    opened = [line["names"] for line in lines if (line["stage"], line["event"]) == ("trackers", "opened")]
    assert opened == [["tensorboard"]] * 4  # search, retrain, eval and eval again


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_search_that_was_stopped_continues_its_log(
    tmp_path: Path, tiny_settings: TinySettings, epoch: int, one_thread: None
) -> None:
    """Stopped before anything is told of that epoch, though its checkpoint is written."""
    materials = make_materials(tiny_settings())
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt), tracked(run, ["tensorboard"], Recorder({SUPERNET: epoch})) as told:
        search(run, materials, told)
    assert "supernet/loss" not in read_events(run.folder).Tags()["scalars"]
    with tracked(run, ["tensorboard"], Silent()) as told:
        search(run, materials, told)
    losses = content(run.path("supernet", "losses.json"))["losses"]
    assert series(read_events(run.folder), "supernet/loss") == pytest.approx(dict(enumerate(losses, start=1)))


def test_a_training_that_is_thrown_away_leaves_no_points(project: Finished) -> None:
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    assert noah("retrain", "--restart", "--set", "retrain.epochs=1", "--track", "tensorboard").code == 2
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    assert list(series(read_events(project.run), "retrain/loss")) == list(range(1, EPOCHS + 1))
    assert noah("retrain", "--restart", "--track", "none").code == 0
    outcome = noah("eval")  # the run was tracked once, so its log gets the figure
    assert "tracker tensorboard: " in outcome.words
    assert "result/test_accuracy" in read_events(project.run).Tags()["scalars"]


def test_weights_that_are_thrown_away_leave_no_accuracy(project: Finished) -> None:
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    assert noah("eval").code == 0
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    tags = read_events(project.run).Tags()["scalars"]
    assert "result/parameters" in tags
    assert "result/test_accuracy" not in tags
    assert noah("eval").code == 0
    assert "result/test_accuracy" in read_events(project.run).Tags()["scalars"]


def test_a_storage_is_told_without_its_password(tmp_path: Path, tiny_settings: TinySettings) -> None:
    run = start_run(tmp_path, make_materials(tiny_settings({"search.storage": "postgresql://me:secret@db/x"})))
    assert told_settings(run)["search"]["storage"] == "postgresql://db/x"
    assert told_settings(run)["seed"] == run.description()["settings"]["seed"]


def test_only_the_process_that_writes_tells_anything(project: Finished) -> None:
    run = Run(open_run(DEFAULT_RUNS, NAME).folder, writes=False)
    with tracked(run, ["tensorboard"], Silent()) as told:
        assert not told.logs
        told.conclude({"parameters": 3.0})
    assert not (project.run / "trackers").exists()


def test_a_damaged_account_of_what_was_told(project: Finished) -> None:
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    (project.run / "trackers" / "tensorboard.json").write_text('{"identity": "../../etc"}')
    outcome = noah("retrain", "--restart", "--track", "tensorboard")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: runs/shapes/first/trackers/tensorboard.json is damaged: ")
    assert hint == "Remove runs/shapes/first/trackers/tensorboard.json to start a new log."


def test_without_the_package_nothing_is_begun(
    tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path, tiny_settings({"trackers": "tensorboard"}))
    outcome = noah("search")
    assert outcome.code == 1
    assert outcome.error_lines == [
        "Error: The tracker tensorboard needs the package tensorboard, which is not installed.",
        "Type: pip install 'noah-prompt-search[trackers]'. With --track none, nothing is tracked.",
    ]
    assert not (tmp_path / "runs").exists()


def test_without_the_package_a_test_is_measured_and_told_later(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert noah("retrain", "--restart", "--track", "tensorboard").code == 0
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        outcome = noah("eval")
    assert outcome.code == 0
    assert "tracker not logged: The tracker tensorboard needs the package tensorboard" in outcome.words
    assert "result/test_accuracy" not in read_events(project.run).Tags()["scalars"]
    assert noah("eval").code == 0
    assert "result/test_accuracy" in read_events(project.run).Tags()["scalars"]


def test_none_beside_a_tracker_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = noah("search", "--dataset", "digits", "--track", "none", "--track", "wandb")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: --track none contradicts the other --track."
    outcome = noah("search", "--dataset", "digits", "--track", "tensorbord")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: --track tensorbord: there is no such tracker.",
        "Write tensorboard, wandb or none.",
    ]


def test_nothing_is_imported_that_nobody_asked_for(tmp_path: Path) -> None:
    outcome = run_python(
        "import sys\n"
        "sys.modules.update(tensorboard=None, wandb=None)\n"  # their import fails; timm's attempt at wandb may
        "import noah_cli.app, noah.api.searching, noah.api.retraining, noah.trackers.listener",
        folder=tmp_path,
    )
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
