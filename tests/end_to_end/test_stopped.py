"""Runs that are killed or interrupted and go on: the end is the same as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noah.files.packed import unpack_images
from noah.training.checkpoint import read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE
from tests.commands import file_contents, noah, noah_line, start_noah, write_settings
from tests.conftest import TinySettings

pytestmark = pytest.mark.slow

EPOCHS, CANDIDATES = 30, 90
"""Enough for seconds of work after the points at which the runs are stopped."""
CHANGES = {
    "supernet.epochs": EPOCHS,
    "retrain.epochs": EPOCHS,
    "search.generations": 2,
    "search.population": CANDIDATES // 3,
}
RESULTS = ("supernet/checkpoint.safetensors", "supernet/losses.json", "search/candidates.jsonl", "search/best.json")
NAME = "holiday photos"
"""The dataset's name: with a blank, as folders of photographs have them."""


@dataclass(frozen=True)
class Undisturbed:
    """A working folder whose run `whole` was never disturbed."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "runs" / NAME / "whole"

    def results(self) -> dict[str, bytes]:
        return results(self.run)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, photo_folder: Path
) -> Undisturbed:
    folder = tmp_path_factory.mktemp("stopped")
    shutil.copytree(photo_folder, folder / NAME)
    write_settings(folder, tiny_settings(CHANGES | {"data.folder": str(folder / NAME)}))
    with contextlib.chdir(folder):
        assert noah("search", "--run", "whole").code == 0
        assert noah("retrain").code == 0
    return Undisturbed(folder)


@pytest.fixture
def working_folder(undisturbed: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs of its own, with the same settings."""
    shutil.copy(undisturbed.folder / "noah.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs, counted from 1, that are trained in this process."""
    from noah.training import loop as training

    found: list[int] = []
    save = training.save_checkpoint
    monkeypatch.setattr(
        training,
        "save_checkpoint",
        lambda path, supernet, optimizer, losses, averages: (
            found.append(len(losses)) or save(path, supernet, optimizer, losses, averages)
        ),
    )
    return found


@contextlib.contextmanager
def heeding_interrupts() -> Iterator[None]:
    """A test run in the background ignores Ctrl-C, and its processes would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_when(
    reached: Callable[[], bool], with_signal: signal.Signals, *arguments: object, folder: Path
) -> tuple[int, str]:
    """Start a command, stop it as soon as it has reached a point, and give its exit code and its errors."""
    with heeding_interrupts(), start_noah(*arguments, folder=folder) as process:
        try:
            while not reached() and process.poll() is None:
                time.sleep(0.002)
            process.send_signal(with_signal)
            errors = process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, errors


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in RESULTS}


def test_killed_while_training_the_supernet(
    undisturbed: Undisturbed, working_folder: Path, trained_epochs: list[int]
) -> None:
    run = working_folder / "runs" / NAME / "stopped"
    checkpoint = run / "supernet" / CHECKPOINT_FILE
    code, _ = stop_when(checkpoint.exists, signal.SIGKILL, "search", "--run", "stopped", folder=working_folder)
    assert code == -signal.SIGKILL
    done = len(read_checkpoint(checkpoint).losses)
    assert 1 <= done < EPOCHS
    assert not (run / "search").exists()

    assert noah("search", "--resume").code == 0

    assert trained_epochs == list(range(done + 1, EPOCHS + 1))  # at most the torn epoch is trained again
    assert results(run) == undisturbed.results()


@pytest.fixture
def searching(undisturbed: Undisturbed, working_folder: Path) -> Path:
    """A run whose supernet is trained already, as its training is not what is stopped here."""
    run = working_folder / "runs" / NAME / "stopped"
    shutil.copytree(undisturbed.run / "supernet", run / "supernet")
    shutil.copy(undisturbed.run / "run.yaml", run)
    (run / "search").mkdir()
    (working_folder / "runs" / "latest").write_text(f"{NAME}/stopped\n")
    return run


def test_killed_while_searching(
    undisturbed: Undisturbed, searching: Path, working_folder: Path, trained_epochs: list[int]
) -> None:
    path = searching / "search" / "candidates.jsonl"
    code, _ = stop_when(lambda: lines_of(path) >= 20, signal.SIGKILL, "search", "--resume", folder=working_folder)
    assert code == -signal.SIGKILL
    known = path.read_bytes().splitlines()
    assert 20 <= len(known) < CANDIDATES
    assert not (searching / "search" / "best.json").exists()

    assert noah("search", "--resume").code == 0

    assert trained_epochs == []
    assert results(searching) == undisturbed.results()
    assert set(known) <= set(path.read_bytes().splitlines())
    assert images_shown(searching) == images_shown(undisturbed.run)  # none was shown to a candidate again


def images_shown(run: Path) -> int:
    """By all looks that were ever written down."""
    written = [json.loads(line) for line in (run / "search" / "journal.log").read_text().splitlines()]
    attributes = [pair for line in written for pair in line.get("user_attr", {}).items()]
    return sum(len(unpack_images(look["images"])) for key, look in attributes if key.startswith("look."))


def test_an_interrupted_search_prints_the_command_that_goes_on(
    undisturbed: Undisturbed, working_folder: Path, trained_epochs: list[int]
) -> None:
    run = working_folder / "my runs" / NAME / "stopped"
    path = run / "search" / "candidates.jsonl"
    code, errors = stop_when(
        path.exists, signal.SIGINT, "search", "--run", "stopped", "--runs", "my runs", folder=working_folder
    )
    assert code == 130
    assert not (run / "search" / "best.json").exists()
    assert "Traceback" not in errors
    command = re.search(r"^Interrupted\. Go on with: (.*)$", errors, re.MULTILINE)
    assert command, errors

    assert noah_line(command[1]).code == 0

    assert trained_epochs == []
    assert results(run) == undisturbed.results()


def test_an_interrupted_retraining_goes_on(
    undisturbed: Undisturbed, working_folder: Path, trained_epochs: list[int]
) -> None:
    run = working_folder / "runs" / NAME / "stopped"
    shutil.copytree(undisturbed.run, run, ignore=shutil.ignore_patterns("retrain"))
    (working_folder / "runs" / "latest").write_text(f"{NAME}/stopped\n")
    checkpoint = run / "retrain" / CHECKPOINT_FILE
    code, errors = stop_when(checkpoint.exists, signal.SIGINT, "retrain", folder=working_folder)
    assert code == 130
    done = len(read_checkpoint(checkpoint).losses)
    assert 1 <= done < EPOCHS
    assert not (run / "retrain" / "model.json").exists()
    assert noah("retrain").code == 2  # neither --resume nor --restart

    assert noah_line(errors.partition("Interrupted. Go on with: ")[2]).code == 0

    assert trained_epochs == list(range(done + 1, EPOCHS + 1))
    assert results_of_retraining(run) == results_of_retraining(undisturbed.run)


def test_retraining_goes_on_from_any_epoch(
    undisturbed: Undisturbed, working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if killed after the first, and then after the last but one epoch."""
    from noah.training import loop as training

    run = working_folder / "runs" / NAME / "stopped"
    shutil.copytree(undisturbed.run, run, ignore=shutil.ignore_patterns("retrain"))
    (working_folder / "runs" / "latest").write_text(f"{NAME}/stopped\n")
    save = training.save_checkpoint
    for last in (1, EPOCHS - 1):

        def save_and_die(path: Path, *state: Any, last: int = last) -> None:
            save(path, *state)
            losses = state[2]
            if len(losses) == last:
                raise _KilledError

        monkeypatch.setattr(training, "save_checkpoint", save_and_die)
        with pytest.raises(_KilledError):
            noah("retrain", "--resume")
    monkeypatch.setattr(training, "save_checkpoint", save)
    assert noah("retrain", "--resume").code == 0
    assert results_of_retraining(run) == results_of_retraining(undisturbed.run)


class _KilledError(Exception):
    """Ends a command at a given point."""


def results_of_retraining(run: Path) -> dict[str, bytes]:
    return {name: (run / "retrain" / name).read_bytes() for name in (CHECKPOINT_FILE, "model.json")}


def test_a_finished_search_has_nothing_to_go_on_with(undisturbed: Undisturbed, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed.folder, tmp_path / "copy")
    before = file_contents(folder, without=("log.jsonl",))
    with contextlib.chdir(folder):
        outcome = noah("search", "--resume")
    assert outcome.code == 0
    assert "The search is finished; there is nothing left to do." in outcome.words
    best = json.loads((undisturbed.run / "search" / "best.json").read_text())
    assert f"winner subnet {best['index']} ({best['origin']}) of {CANDIDATES} evaluated" in outcome.words
    assert file_contents(folder, without=("log.jsonl",)) == before
