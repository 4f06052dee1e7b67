"""A run that went the whole road once, shared by every test that only reads it.

A `conftest.py` offers it as the fixture `finished` by importing it; however many do, and in however many workers, the
run is made once.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.commands import Outcome, noah, write_settings
from tests.conftest import TinySettings
from tests.once import made_once, shared_folder

NAME = "shapes/first"
"""The dataset is named after its folder, the run by --run."""
EPOCHS = 6
"""Of either training: enough to be better than chance."""
FLOAT, UINT8 = "onnx-fp32", "onnx-fp32-uint8"
ENGINES = ("trt-fp16", "trt-bf16-uint8")
"""Artifacts with engines for sm89, of two precisions and both inputs."""

WORK, OUTCOMES = "work", "outcomes.json"
"""In a folder that workers share: the working folder, and what was printed beside it."""


@dataclass(frozen=True)
class Finished:
    """A working folder with noah.yaml and a run that was searched, retrained, evaluated, exported and predicted with.

    Attributes:
        folder: The working folder.
        outcomes: The outcome of each command of the road, in order.
    """

    folder: Path
    outcomes: dict[str, Outcome]

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "runs" / NAME

    def artifact(self, name: str = FLOAT) -> Path:
        """An exported artifact of the run."""
        return self.run / "export" / name

    def copy(self, to: Path) -> Finished:
        """The same again in another folder, for a test that writes."""
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return Finished(to, self.outcomes)


def make_finished(folder: Path, settings: object, photos: Path) -> Finished:
    """Go the road with the real commands, each as typed in the working folder."""
    write_settings(folder, settings)
    export = f"runs/{NAME}/export"
    commands: dict[str, tuple[object, ...]] = {
        "search": ("search", "--run", "first"),
        "retrain": ("retrain",),
        "eval": ("eval",),
        "export": ("export", "--format", "onnx"),
        "export uint8": ("export", "--format", "onnx", "--input", "uint8"),
        "eval artifact": ("eval", f"{export}/{FLOAT}"),
        "eval uint8 artifact": ("eval", f"{export}/{UINT8}"),
        "predict": ("predict", f"{export}/{FLOAT}", photos / "test", "--out", "predictions.csv"),
    }
    with contextlib.chdir(folder):
        return Finished(folder, {name: noah(*arguments) for name, arguments in commands.items()})


def keep(made: Finished, folder: Path) -> None:
    """Write down what was printed, for other workers."""
    outcomes = {name: asdict(outcome) for name, outcome in made.outcomes.items()}
    (folder / OUTCOMES).write_text(json.dumps(outcomes), encoding="utf-8")


def kept(folder: Path) -> Finished:
    """Read what a worker has made."""
    outcomes = json.loads((folder / OUTCOMES).read_text(encoding="utf-8"))
    return Finished(folder / WORK, {name: Outcome(**fields) for name, fields in outcomes.items()})


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, photo_folder: Path, kept_exports: None
) -> Finished:
    """The finished run; not to be written to."""

    def make(folder: Path) -> None:
        changes = {"supernet.epochs": EPOCHS, "retrain.epochs": EPOCHS}
        (folder / WORK).mkdir()
        keep(make_finished(folder / WORK, tiny_settings(changes), photo_folder), folder)

    return kept(made_once(shared_folder(tmp_path_factory) / "finished", make))


@pytest.fixture(scope="session")
def engines(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A copy of the finished run with `ENGINES` beside its other artifacts; not to be written to."""

    def make(folder: Path) -> None:
        copied = finished.copy(folder / WORK)
        trt = ("export", "--format", "trt", "--target", "sm89", "--batch", "1:4:20")
        with contextlib.chdir(copied.folder):
            outcomes = {
                ENGINES[0]: noah(*trt),
                ENGINES[1]: noah(*trt, "--precision", "bf16", "--input", "uint8", "--output", "logits"),
            }
        keep(Finished(copied.folder, copied.outcomes | outcomes), folder)

    return kept(made_once(shared_folder(tmp_path_factory) / "engines", make))


@pytest.fixture
def project(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """A copy of the finished run that a test may write to, as the working folder."""
    copied = finished.copy(tmp_path / "project")
    monkeypatch.chdir(copied.folder)
    return copied


@pytest.fixture
def engine_project(engines: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """A copy of the run with engines that a test may write to, as the working folder."""
    copied = engines.copy(tmp_path / "project")
    monkeypatch.chdir(copied.folder)
    return copied
