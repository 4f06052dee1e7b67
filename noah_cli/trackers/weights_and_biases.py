"""Weights & Biases: the figures of a run on its server, or with WANDB_MODE=offline in the run folder."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

import wandb

from noah.errors import UsageError
from noah.runs.folder import Run
from noah_cli.trackers.record import RESULT, Record
from noah_cli.trackers.tracker import FOLDER, told_settings

_PROJECT = "noah"
"""Where WANDB_PROJECT names no other."""


def check_key() -> None:
    """Ask the server whether it takes the key that is set up, without asking a person for one.

    Raises:
        UsageError: There is no key, or the server refuses it or does not answer.
    """
    if os.environ.get("WANDB_MODE", "online") != "online":
        return
    try:
        known = wandb.login(prompt=False)
    except wandb.errors.Error as error:
        raise _unusable(str(error)) from error
    if not known:
        raise _unusable("no API key is set up")


def _unusable(why: str) -> UsageError:
    return UsageError(
        f"Weights & Biases cannot be used: {why.splitlines()[0]}",
        "Type: wandb login. WANDB_MODE=offline keeps all on this machine, and with --track none search and retrain go "
        "without.",
    )


class WeightsAndBiases:
    """Tells Weights & Biases; its environment variables, such as WANDB_PROJECT, mean what they mean everywhere.

    Every stage has a step of its own, which is a figure beside the others. A stage that begins anew is told over what
    was told before, since nothing can be removed there.

    Args:
        run: The run; its dataset becomes the group.
        identity: By which the server knows it.
        new: Whether the settings are still to be told.

    Raises:
        UsageError: There is no key, or the server refuses.
    """

    def __init__(self, run: Run, identity: str, *, new: bool) -> None:
        folder = run.path(FOLDER).absolute()  # it is written by a process of its own
        folder.mkdir(exist_ok=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                id=identity,
                name=run.name,
                group=run.folder.parent.name,
                config=told_settings(run) if new else None,
                dir=str(folder),
                resume=None if os.environ.get("WANDB_MODE") == "offline" else "allow",  # there is nobody to ask offline
                save_code=False,
                settings=wandb.Settings(console="off", silent=True),
            )
        except wandb.errors.Error as error:
            raise _unusable(str(error)) from error
        here = f"wandb sync {shlex.quote(str(run.path(FOLDER, 'wandb')))}/*"
        self.place = here if self._run.offline else str(self._run.url)
        self._stages: set[str] = set()

    def log(self, record: Record) -> None:
        """Tell the figures of one step."""
        step = f"{record.stage}/step"
        if record.stage not in self._stages:
            self._run.define_metric(step, hidden=True)
            self._run.define_metric(f"{record.stage}/*", step_metric=step)
            self._stages.add(record.stage)
        self._run.log({step: record.step} | {f"{record.stage}/{name}": value for name, value in record.values.items()})

    def conclude(self, results: Mapping[str, float]) -> None:
        """Tell final figures, as the summary of the run."""
        self._run.summary.update({f"{RESULT}/{name}": value for name, value in results.items()})

    def forget(self, stage: str) -> None:
        """Nothing can be removed."""

    def close(self) -> None:
        """Wait until everything is told."""
        self._run.finish()
