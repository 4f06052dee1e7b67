"""How the stages of a run went: which are done, how long they took, and their training losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from noah.files.jsonl import read_lines
from noah.runs.folder import Run
from noah.training.checkpoint import CHECKPOINT_FILE
from noah_cli.report.reading import Missing, read_losses, well_formed


@dataclass(frozen=True, slots=True)
class Training:
    """One training.

    Args:
        losses: Mean training loss of each finished epoch.
        epochs: How many it has, or is to have.
        finished: Whether it is at its end.
        seconds: How long it took, the last time it was started; None where the log does not tell.
    """

    losses: tuple[float, ...]
    epochs: int
    finished: bool
    seconds: float | None


def gather_supernet(run: Run, description: Mapping[str, Any], resume: str) -> Training | Missing:
    """The training of the supernet.

    Args:
        run: The run.
        description: The content of its run.yaml.
        resume: The command that goes on with the search.

    Raises:
        RunError: A file is damaged.
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
    return Training(losses, max(epochs, len(losses)), finished, stage_seconds(run, "supernet"))


def gather_retrained(run: Run, description: Mapping[str, Any], commands: Sequence[str]) -> Training | Missing:
    """The training of the winner, or of the subnet that was given.

    Args:
        run: The run.
        description: The content of its run.yaml.
        commands: What brings it.

    Raises:
        RunError: A file is damaged.
    """
    epochs = int(description["settings"]["retrain"]["epochs"])
    finished = run.path("retrain", "model.json").is_file()
    if finished:
        with well_formed(run.path("retrain", "model.json"), "no losses"):
            losses = tuple(map(float, run.read_json("retrain", "model.json")["losses"]))
    elif run.path("retrain", CHECKPOINT_FILE).is_file():
        losses = read_losses(run.path("retrain", CHECKPOINT_FILE))
    else:
        return Missing("The subnet has not been trained on its own.", tuple(commands))
    return Training(losses, max(epochs, len(losses)), finished, stage_seconds(run, "retrain"))


def stage_seconds(run: Run, stage: str) -> float | None:
    """How long a stage took, the last time it was started; None where log.jsonl does not tell.

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
