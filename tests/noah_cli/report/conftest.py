"""A run that went the whole road, with another and a bench beside it; a class has a name that HTML must escape."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import Outcome, noah
from tests.conftest import TinySettings
from tests.finished import EPOCHS, Finished, make_finished

EVIL = "<script>alert('1')&\"$x_1$"
"""The name of a class: markup of HTML and of matplotlib's formulas."""


@dataclass(frozen=True)
class Reported:
    """A working folder with a run of which everything is there.

    Attributes:
        finished: The run; the others lie beside it.
        outcome: What `noah report` printed.
    """

    finished: Finished
    outcome: Outcome

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.finished.run

    @property
    def page(self) -> str:
        """The report that was written."""
        return (self.run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, photo_folder: Path) -> Finished:
    """Searched, retrained, tested, exported, with `lora:2` beside it and a bench; not to be written to."""
    photos = shutil.copytree(photo_folder, tmp_path_factory.mktemp("photos") / "shapes")
    for split in ("train", "val", "test"):
        (photos / split / "circle").rename(photos / split / EVIL)
    changes = {
        "data.folder": str(photos),
        "supernet.epochs": EPOCHS,
        "retrain.epochs": 1,  # so that there are mistakes
        "search.population": 12,
        "search.parents": 4,
        "search.mutations": 6,
        "search.crossovers": 6,
    }
    made = make_finished(tmp_path_factory.mktemp("whole"), tiny_settings(changes), photos)
    bench = ("bench", made.artifact().relative_to(made.folder), "--against", "backbone", "--seconds", "0")
    with contextlib.chdir(made.folder):
        for arguments in (
            ("retrain", "--subnet", "lora:2", "--name", "lora", "--set", "retrain.epochs=2"),
            ("eval",),
            (*bench, "--batch", "1,2", "--out", "runs/shapes/first/bench.json"),
        ):
            outcome = noah(*arguments)
            assert outcome.code == 0, outcome.err
    return made


@pytest.fixture(scope="session")
def reported(whole: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reported]:
    """A copy of it with its report; not to be written to."""
    copied = whole.copy(tmp_path_factory.mktemp("reported"))
    with contextlib.chdir(copied.folder):
        outcome = noah("report", "shapes/first")
        assert (outcome.code, outcome.err) == (0, ""), outcome.err
    yield Reported(copied, outcome)


@pytest.fixture
def work(whole: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """A copy without a report that a test may write to, as the working folder."""
    copied = whole.copy(tmp_path / "work")
    monkeypatch.chdir(copied.folder)
    return copied
