"""Logs to Weights & Biases: to its server or, with WANDB_MODE=offline, to the run folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

import wandb

from noah.errors import UsageError
from noah.runs.folder import Run
from noah.trackers.record import RESULT, Record
from noah.trackers.tracker import FOLDER, told_settings

_PROJECT = "noah"
"""The project if WANDB_PROJECT names no other."""


def check_key() -> None:
    """Ask the server whether it accepts the configured key, without prompting the user for one.

    Raises:
        UsageError: If there is no key, or the server refuses it or does not answer.
    """
    if os.environ.get("WANDB_MODE", "online") != "online":
        return
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.Error as error:
        raise _unusable(_cause(error)) from error
    if not known:
        raise _unusable("no API key is set up")


def _unusable(why: str) -> UsageError:
    return UsageError(
        f"Weights & Biases cannot be used: {why}",
        "Type: wandb login. WANDB_MODE=offline keeps everything on this machine; with --track none, nothing is "
        "tracked.",
    )


def _cause(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class WeightsAndBiases:
    """Logs to Weights & Biases; its environment variables, such as WANDB_PROJECT, work as usual.

    Every stage has a step of its own, which is a figure beside the others. A stage that starts again is logged over its
    old figures, since nothing can be removed there.

    Args:
        run: The run; its dataset becomes the group.
        identity: The id under which the server knows it.
        new: Whether the settings have not been sent yet.

    Raises:
        UsageError: If there is no key, or the server refuses.
    """

    def __init__(self, run: Run, identity: str, *, new: bool) -> None:
        folder = run.path(FOLDER).absolute()  # wandb's own process writes there
        folder.mkdir(exist_ok=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                id=identity,
                name=run.name,
                group=run.folder.parent.name,
                config=told_settings(run) if new else None,
                dir=str(folder),
                resume=None
                if os.environ.get("WANDB_MODE") == "offline"
                else "allow",  # offline there is no server to ask
                save_code=False,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.Error as error:
            raise _unusable(_cause(error)) from error
        here = f"wandb sync {shlex.quote(str(run.path(FOLDER, 'wandb')))}/*"
        self.place = here if self._run.offline else str(self._run.url)
        self._stages: set[str] = set()

    def log(self, record: Record) -> None:
        """Send the figures of one step."""
        step = f"{record.stage}/step"
        if record.stage not in self._stages:
            self._run.define_metric(step, hidden=True)
            self._run.define_metric(f"{record.stage}/*", step_metric=step)
            self._stages.add(record.stage)
        self._run.log({step: record.step} | {f"{record.stage}/{name}": value for name, value in record.values.items()})

    def conclude(self, results: Mapping[str, float]) -> None:
        """Send final figures as the run's summary."""
        self._run.summary.update({f"{RESULT}/{name}": value for name, value in results.items()})

    def forget(self, stage: str) -> None:
        """Do nothing: nothing can be removed there."""

    def close(self) -> None:
        """Wait until everything is sent."""
        self._run.finish()
