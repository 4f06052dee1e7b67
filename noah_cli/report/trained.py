"""The trainings of a run: how far they are, how long they took, and their losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from noah.files.jsonl import read_lines
from noah.runs.folder import Run
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah_cli.report.reading import Missing, read_losses, well_formed


@dataclass(frozen=True, slots=True)
class Training:
    """One training.

    Args:
        losses: Mean training loss of each finished epoch.
        epochs: Number of epochs in all, finished or not.
        finished: Whether all epochs are finished.
        seconds: Duration since it was last started; None if the log does not say.
        taught: The share of each label that is what the finalists of the search predict, 0..1; 0 without teachers.
        sampling: How the subnets of each step are drawn, as `supernet.sampling` says; empty for a single subnet.
        held_out: How many of the training and validation images it leaves out.
    """

    losses: tuple[float, ...]
    epochs: int
    finished: bool
    seconds: float | None
    taught: float = 0.0
    sampling: str = ""
    held_out: int = 0


def gather_supernet(run: Run, description: Mapping[str, Any], resume: str) -> Training | Missing:
    """Read the training of the supernet.

    Args:
        run: The run to read.
        description: The content of its run.yaml.
        resume: The command that goes on with the search.

    Raises:
        RunError: If a file is damaged.
    """
    epochs = int(description["settings"]["supernet"]["epochs"])
    if run.path("supernet", "plan.json").is_file():
        with well_formed(run.path("supernet", "plan.json"), "no number of epochs"):
            epochs = int(run.read_json("supernet", "plan.json")["epochs"])
    finished = run.path("supernet", "losses.json").is_file()
    if finished:
        with well_formed(run.path("supernet", "losses.json"), "no losses"):
            losses = tuple(map(float, run.read_json("supernet", "losses.json")["losses"]))
    elif run.path("supernet", CHECKPOINT_FILE).is_file():
        losses = read_losses(run.path("supernet", CHECKPOINT_FILE))
    else:
        return Missing("The training of the supernet has not finished its first epoch.", (resume,))
    finished = finished or len(losses) >= epochs
    sampling = str(description["settings"]["supernet"].get("sampling", "uniform"))
    return Training(losses, max(epochs, len(losses)), finished, stage_seconds(run, "supernet"), sampling=sampling)


def gather_retrained(run: Run, description: Mapping[str, Any], commands: Sequence[str]) -> Training | Missing:
    """Read the training of the winner, or of the given subnet.

    Args:
        run: The run to read.
        description: The content of its run.yaml.
        commands: What to type to train it.

    Raises:
        RunError: If a file is damaged.
    """
    settings = description["settings"]["retrain"]
    epochs, taught, held_out = int(settings["epochs"]), 0.0, 0
    finished = run.path("retrain", "model.json").is_file()
    if finished:
        with well_formed(run.path("retrain", "model.json"), "no losses"):
            model = run.read_json("retrain", "model.json")
            losses = tuple(map(float, model["losses"]))
            taught = float(settings["teacher_share"]) if model.get("teachers") else 0.0
            held_out = _images_of(model.get("held_out"))
    elif run.path("retrain", CHECKPOINT_FILE).is_file():
        losses = read_losses(run.path("retrain", CHECKPOINT_FILE))
        if run.path("retrain", "held_out.json").is_file():
            with well_formed(run.path("retrain", "held_out.json"), "no numbers of images"):
                held_out = _images_of(run.read_json("retrain", "held_out.json"))
    else:
        return Missing("The subnet has not been trained on its own.", tuple(commands))
    seconds = stage_seconds(run, "retrain")
    return Training(losses, max(epochs, len(losses)), finished, seconds, taught, held_out=held_out)


def _images_of(held_out: Mapping[str, Any] | None) -> int:
    """How many images a training left out, by its record of them."""
    return 0 if held_out is None else sum(int(held_out[part]["images"]) for part in ("stopping", "gates"))


def stage_seconds(run: Run, stage: str) -> float | None:
    """Read how long a stage took since it was last started; None if log.jsonl does not say.

    Raises:
        RunError: If the log is damaged.
    """
    path = run.path("log.jsonl")
    started: datetime | None = None
    seconds: float | None = None
    for record in read_lines(path):
        with well_formed(path, "a line without stage, event and time"):
            if record["stage"] != stage:
                continue
            time = datetime.fromisoformat(record["time"])
            if record["event"] == "started":
                started, seconds = time, None
            elif record["event"] == "finished" and started is not None:
                seconds = (time - started).total_seconds()
    return seconds
