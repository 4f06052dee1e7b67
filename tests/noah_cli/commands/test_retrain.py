"""`noah retrain`: once, again only if asked, and what goes with weights that are thrown away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from noah.training.checkpoint_file import CHECKPOINT_FILE
from tests.commands import file_contents, noah
from tests.finished import EPOCHS, Finished


@pytest.fixture
def trained_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs, counted from 1, that are trained in this process."""
    from noah.training import loop as training

    found: list[int] = []
    save = training.save_checkpoint

    def note(path: Any, supernet: Any, optimizer: Any, losses: list[float], averages: Any) -> None:
        found.append(len(losses))
        save(path, supernet, optimizer, losses, averages)

    monkeypatch.setattr(training, "save_checkpoint", note)
    return found


def model(project: Finished) -> Any:
    return json.loads((project.run / "retrain" / "model.json").read_text())


def test_it_tells_what_it_trained(finished: Finished) -> None:
    words = finished.outcomes["retrain"].words
    stored = json.loads((finished.run / "retrain" / "model.json").read_text())
    assert f"retrained {stored['parameters']:,} parameters and a head of 195 on 54 images" in words
    assert f"final loss {stored['losses'][-1]:.3f}" in words


@pytest.mark.parametrize("arguments", [(), ("--resume",)])
def test_what_is_retrained_stays(project: Finished, trained_epochs: list[int], arguments: tuple[str, ...]) -> None:
    before = file_contents(project.folder)
    outcome = noah("retrain", *arguments)
    assert outcome.code == 0
    assert "The subnet of shapes/first is already retrained; --restart does it again." in outcome.words
    assert outcome.out.endswith("next      noah eval\n")
    assert trained_epochs == []
    assert file_contents(project.folder) == before


@pytest.mark.parametrize("more", [(), ("--restart",)])
def test_the_next_line_names_the_run_where_it_was_chosen_by_name(project: Finished, more: tuple[str, ...]) -> None:
    assert noah("retrain", "--run", "first", *more).out.endswith("next      noah eval --run shapes/first\n")
    assert noah("retrain", *more).out.endswith("next      noah eval\n")


def test_the_next_line_leaves_a_new_run_unnamed_which_is_the_latest(project: Finished) -> None:
    outcome = noah("retrain", "--run", "first", "--subnet", "lora:2", "--name", "second", "--set", "retrain.epochs=1")
    assert outcome.out.endswith("next      noah eval\n")
    assert noah("eval").words.startswith("run runs/shapes/second ")


def test_restart_throws_away_the_weights_and_what_was_measured_of_them(
    project: Finished, trained_epochs: list[int]
) -> None:
    before = file_contents(project.run / "retrain")
    assert noah("retrain", "--restart").code == 0
    assert trained_epochs == list(range(1, EPOCHS + 1))
    assert file_contents(project.run / "retrain") == before  # the same seed gives the same weights
    assert not (project.run / "eval").exists()
    assert "measured before" not in noah("eval").words


def test_restart_that_cannot_begin_throws_nothing_away(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = file_contents(project.folder)
    monkeypatch.setattr("noah.prepare.context.load_backbone", load)
    assert noah("retrain", "--restart").code == 130
    assert file_contents(project.folder) == before


def test_inherit_starts_from_the_supernet(project: Finished, trained_epochs: list[int]) -> None:
    fresh = model(project)
    assert noah("retrain", "--restart", "--inherit").code == 0
    inherited = model(project)
    assert (fresh["settings"]["inherit"], inherited["settings"]["inherit"]) == (False, True)
    assert inherited["losses"][0] < fresh["losses"][0]
    assert len(trained_epochs) == EPOCHS


@pytest.mark.parametrize("options", [(), ("--inherit",)])
def test_an_interrupted_retraining_says_how_to_go_on(
    project: Finished, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    def stage(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noah.api.retraining.retrain", stage)
    outcome = noah("retrain", "--restart", *options)
    assert outcome.code == 130
    again = " ".join(["noah retrain --resume", *options, "--run shapes/first"])
    assert outcome.err == f"\nInterrupted. Go on with: {again}\n"


def test_a_stopped_retraining_needs_a_word_on_what_to_do(project: Finished, trained_epochs: list[int]) -> None:
    (project.run / "retrain" / "model.json").unlink()
    refused = noah("retrain")
    assert refused.code == 2
    assert refused.error_lines == [
        "Error: The retraining of shapes/first was stopped before its end.",
        "Add --resume to go on with it, or --restart to start again.",
    ]
    both = noah("retrain", "--resume", "--restart")
    assert (both.code, both.err) == (
        2,
        "Error: --resume goes on with a stopped training, but --restart discards it.\nLeave out one of them.\n",
    )
    assert noah("retrain", "--resume").code == 0
    assert trained_epochs == []  # its last epoch had been saved


@pytest.mark.parametrize("finished_it", [True, False])
def test_a_search_that_went_on_to_another_winner_asks_for_another_retraining(
    project: Finished, finished_it: bool
) -> None:
    best = project.run / "search" / "best.json"
    stored = json.loads(best.read_text())
    stored["subnet"]["lora"] = [2 if width != 2 else 1 for width in stored["subnet"]["lora"]]
    best.write_text(json.dumps(stored))
    if not finished_it:
        (project.run / "retrain" / "model.json").unlink()
    wrong = [
        "Error: The search of shapes/first went on after its retraining began, and has another winner now.",
        "Train that one: noah retrain --restart --run shapes/first",
    ]
    for command in ("retrain", "retrain --resume", *(("eval", "export") if finished_it else ())):
        outcome = noah(*command.split())
        assert (outcome.code, outcome.error_lines) == (2, wrong), command
    assert noah("retrain", "--restart").code == 0
    assert model(project)["subnet"] == stored["subnet"]
    assert noah("eval").code == 0


def test_a_damaged_checkpoint_is_told(project: Finished) -> None:
    (project.run / "retrain" / "model.json").unlink()
    checkpoint = project.run / "retrain" / CHECKPOINT_FILE
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    outcome = noah("retrain", "--resume")
    assert outcome.code == 1
    assert len(outcome.error_lines) == 2
    assert str(checkpoint.relative_to(project.folder)) in outcome.error_lines[0]
    assert outcome.error_lines[1] == "Train the winner again: noah retrain --restart --run shapes/first"


def test_a_resumed_retraining_keeps_its_settings(project: Finished) -> None:
    assert noah("retrain", "--restart", "--inherit").code == 0
    (project.run / "retrain" / "model.json").unlink()
    assert noah("retrain", "--resume").code == 0
    assert model(project)["settings"]["inherit"] is True


def test_a_resumed_retraining_cannot_inherit_afterwards(project: Finished) -> None:
    (project.run / "retrain" / "model.json").unlink()
    outcome = noah("retrain", "--resume", "--inherit")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: This retraining was started without --inherit.",
        "Leave it out, or add --restart.",
    ]


def test_it_can_go_on_in_another_precision(project: Finished) -> None:
    (project.run / "retrain" / "model.json").unlink()
    assert noah("retrain", "--resume", "--precision", "bf16").code == 0
    assert model(project)["hardware"]["precision"] == "bf16"
