"""One run and its stages, as commands that can be killed anywhere, and what has to come of them."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from noah.files.jsonl import read_lines
from noah.runs.folder import RUN_FILE
from noah.training.checkpoint import read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE
from tests.commands import noah, start_noah, write_settings
from tests.conftest import TinySettings

NAME, RUN = "photos", "first"
"""Of the dataset and of the run, also of one that is disturbed: an artifact holds the name of its run."""
EPOCHS, CANDIDATES = 20, 60
STAGES = ("supernet", "search", "retrain", "export")
STARTED = {"supernet": "supernet", "search": "search", "retrain": "retrain"}
"""The stage's name in log.jsonl."""
RESULTS = {
    "supernet": ("supernet/checkpoint.safetensors", "supernet/losses.json"),
    "search": ("search/candidates.jsonl", "search/best.json"),
    "retrain": (f"retrain/{CHECKPOINT_FILE}", "retrain/model.json"),
    "export": ("export/onnx-fp32/model.onnx",),
}
EXPORT = ("export", "--format", "onnx")


@dataclass(frozen=True)
class Road:
    """A working folder with a run that was never disturbed.

    Attributes:
        folder: The working folder.
        seconds: How long each stage took, from its first sign on.
    """

    folder: Path
    seconds: dict[str, float]

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "runs" / NAME / RUN

    def results(self, stage: str) -> dict[str, bytes]:
        """The bytes that the stage left."""
        return results(self.run, stage)


def results(run: Path, stage: str) -> dict[str, bytes]:
    """The bytes of a stage's results that have to be the same whatever happened."""
    return {name: (run / name).read_bytes() for name in RESULTS[stage]}


def make_road(folder: Path, tiny_settings: TinySettings, photos: Path) -> Road:
    """Go the road once, undisturbed, each command in a process of its own as those that will be killed."""
    shutil.copytree(photos, folder / NAME)
    changes = {
        "data.folder": str(folder / NAME),
        "supernet.epochs": EPOCHS,
        "retrain.epochs": EPOCHS,
        "search.generations": 2,
        "search.population": CANDIDATES // 3,
    }
    write_settings(folder, tiny_settings(changes))
    run = folder / "runs" / NAME / RUN
    seconds: dict[str, float] = {}
    for command, stages in (
        (("search", "--run", RUN), ("supernet", "search")),
        (("retrain",), ("retrain",)),
        (EXPORT, ("export",)),
    ):
        begun: dict[str, float] = {}
        with start_noah(*command, folder=folder) as process:
            while process.poll() is None:
                for stage in stages:
                    if stage not in begun and has_begun(run, stage):
                        begun[stage] = time.monotonic()
                time.sleep(0.005)
            assert process.returncode == 0, process.communicate()[1]
        ended = time.monotonic()
        for number, stage in enumerate(stages):
            following = begun.get(stages[number + 1], ended) if number + 1 < len(stages) else ended
            seconds[stage] = following - begun[stage]
    return Road(folder, seconds)


def has_begun(run: Path, stage: str) -> bool:
    """Whether a stage's own work has begun."""
    if stage == "export":
        return (run / "export").exists() and any((run / "export").iterdir())
    log = run / "log.jsonl"
    if not log.exists():
        return False
    with contextlib.suppress(json.JSONDecodeError):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return any(line["stage"] == stage and line["event"] == "started" for line in lines)
    return False


def prepare(road: Road, folder: Path, stage: str) -> Path:
    """A working folder in which the stages before `stage` are done; gives the run's folder."""
    shutil.copy(road.folder / "noah.yaml", folder)
    run = folder / "runs" / NAME / RUN
    if stage == "supernet":
        return run
    left_out = {
        "search": ("search", "retrain", "export", "seals"),
        "retrain": ("retrain", "export"),
        "export": ("export",),
    }[stage]
    shutil.copytree(road.run, run, ignore=shutil.ignore_patterns(*left_out, "log.jsonl"))
    if stage == "search":
        (run / "search").mkdir()
    (folder / "runs" / "latest").write_text(f"{NAME}/{RUN}\n")
    return run


def command_of(stage: str) -> tuple[str, ...]:
    """What begins the stage in a prepared folder."""
    return {
        "supernet": ("search", "--run", RUN),
        "search": ("search", "--resume"),
        "retrain": ("retrain",),
        "export": EXPORT,
    }[stage]


def go_on(run: Path, stage: str) -> None:
    """Type what goes on after a kill, in the working folder, until the stage is at its end."""
    command: tuple[str, ...] = {
        "supernet": ("search", "--resume") if (run / RUN_FILE).exists() else ("search", "--run", RUN),
        "search": ("search", "--resume"),
        "retrain": ("retrain", "--resume"),
        "export": EXPORT,
    }[stage]
    outcome = noah(*command)
    assert outcome.code == 0, outcome.err


def check_nothing_is_torn(run: Path) -> None:
    """No half file under a final name: everything that is there can be read whole."""
    for path in run.rglob("*.json"):
        json.loads(path.read_text())
    for path in run.rglob(CHECKPOINT_FILE):
        read_checkpoint(path)
    candidates = run / "search" / "candidates.jsonl"
    if candidates.exists():
        numbers = [line["index"] for line in read_lines(candidates)]  # the last may be torn; it is written again
        assert len(numbers) == len(set(numbers))
    if (run / "export" / "onnx-fp32").exists():
        from export.formats.load import load_predictor

        load_predictor(run / "export" / "onnx-fp32")
