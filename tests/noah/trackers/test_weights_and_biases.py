"""Weights & Biases in its offline mode: its file in the run folder is read back record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from noah.errors import UsageError
from noah.trackers.weights_and_biases import check_key
from tests.commands import noah, write_settings
from tests.conftest import TinySettings
from tests.finished import EPOCHS, NAME, Finished

_BLOCK, _HEADER = 32 * 1024, 7


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_PROJECT", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield
    wandb.teardown()  # it reads its environment once a process


def records(path: Path) -> Iterator[Record]:
    """The records of a .wandb file: a log in blocks of 32 KiB, in which a record may be cut into pieces."""
    content, place, piece = path.read_bytes(), _HEADER, b""
    while place + _HEADER <= len(content):
        if place % _BLOCK > _BLOCK - _HEADER:  # padding at the end of a block
            place += _BLOCK - place % _BLOCK
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        piece += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(piece)
            piece = b""


def files(run: Path) -> list[Path]:
    """The files of a run, once the process that writes them has ended; until then the last records may be missing."""
    wandb.teardown()
    return sorted((run / "trackers" / "wandb").glob("offline-run-*/*.wandb"))


def history(path: Path) -> list[dict[str, Any]]:
    """The figures of each step."""
    return [
        {
            item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
            for item in record.history.item
        }
        for record in records(path)
        if record.HasField("history")
    ]


def summary(path: Path) -> dict[str, Any]:
    return {
        item.nested_key[0] if item.nested_key else item.key: json.loads(item.value_json)
        for record in records(path)
        if record.HasField("summary")
        for item in record.summary.update
    }


def test_a_retraining_and_its_test(project: Finished) -> None:
    outcome = noah("retrain", "--restart", "--track", "wandb")
    assert outcome.code == 0, outcome.err
    assert "tracker wandb: wandb sync " in outcome.words
    (first,) = files(project.run)
    losses = json.loads((project.run / "retrain" / "model.json").read_text())["losses"]
    told = [row for row in history(first) if "retrain/loss" in row]
    assert [row["retrain/step"] for row in told] == list(range(1, EPOCHS + 1))
    assert [row["retrain/loss"] for row in told] == losses
    assert all(row["retrain/images_per_second"] > 0 and row["retrain/learning_rate"] > 0 for row in told)

    assert noah("eval").code == 0
    (second,) = set(files(project.run)) - {first}
    result = json.loads((project.run / "eval" / "test.json").read_text())
    assert summary(second)["result/test_accuracy"] == result["accuracy"]
    runs = [record.run for path in (first, second) for record in records(path) if record.HasField("run")]
    assert {run.run_id for run in runs} == {
        json.loads((project.run / "trackers" / "wandb.json").read_text())["identity"]
    }
    assert {(run.project, run.display_name, run.run_group) for run in runs} == {("noah", NAME, "shapes")}
    settings = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert settings["retrain"]["epochs"] == EPOCHS


def test_the_project_that_the_environment_names(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert noah("retrain", "--restart", "--track", "wandb", "--track", "tensorboard").code == 0
    (path,) = files(project.run)
    assert {record.run.project for record in records(path) if record.HasField("run")} == {"mine"}
    assert list((project.run / "trackers" / "tensorboard").glob("*.retrain"))


def test_without_a_key_no_run_is_begun(
    tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path, tiny_settings({"trackers": "wandb"}))
    outcome = noah("search", "--run", "first")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: Weights & Biases cannot be used: no API key is set up"
    assert not (tmp_path / "runs").exists()


def test_without_a_key_it_says_what_to_type(project: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "short")
    outcome = noah("retrain", "--restart", "--track", "wandb")
    assert outcome.code == 2
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: Weights & Biases cannot be used: ")
    assert hint.startswith("Type: wandb login. WANDB_MODE=offline keeps everything on this machine")
    assert (project.run / "retrain" / "model.json").is_file()  # nothing was thrown away for it
    assert not (project.run / "trackers" / "wandb.json").exists()


@pytest.mark.parametrize(("text", "told"), [("", "Error"), ("\nno network\nat all", "no network")])
def test_the_first_line_of_an_error_is_told_or_its_kind(monkeypatch: pytest.MonkeyPatch, text: str, told: str) -> None:
    def refuse(**_: object) -> bool:
        raise wandb.errors.Error(text)

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "login", refuse)
    with pytest.raises(UsageError) as caught:
        check_key()
    assert caught.value.problem == f"Weights & Biases cannot be used: {told}"
