"""Logs to TensorBoard: event files in the run folder, one series for each stage."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams, text

from noah.runs.folder import Run
from noah.settings.layers import flatten
from noah.trackers.record import RESULT, Record
from noah.trackers.tracker import FOLDER, told_settings

_RESULTS = (f"{RESULT}/validation_accuracy", f"{RESULT}/test_accuracy")
"""Columns beside the settings in the table of runs, which have to be named at the start."""


class TensorBoard:
    """Writes a run's folder trackers/tensorboard/.

    Each stage has event files of its own, so that they can be removed if the stage starts again.

    Args:
        run: The run that is logged.
        new: Whether the settings have not been written yet.
    """

    def __init__(self, run: Run, *, new: bool) -> None:
        self._folder = run.path(FOLDER, "tensorboard")
        self._writers: dict[str, SummaryWriter] = {}
        self.place = f"tensorboard --logdir {shlex.quote(str(self._folder))}"
        if new:
            self._write_settings(told_settings(run))

    def log(self, record: Record) -> None:
        """Write the figures of one step to disk."""
        writer = self._writer(record.stage)
        for name, value in record.values.items():
            writer.add_scalar(f"{record.stage}/{name}", value, record.step)
        writer.flush()

    def conclude(self, results: Mapping[str, float]) -> None:
        """Write each final figure as a series of one step."""
        writer = self._writer(RESULT)
        for name, value in results.items():
            writer.add_scalar(f"{RESULT}/{name}", value, 0)
        writer.flush()

    def forget(self, stage: str) -> None:
        """Remove the event files of a stage."""
        writer = self._writers.pop(stage, None)
        if writer is not None:
            writer.close()
        for path in self._folder.glob(f"*{_suffix(stage)}"):
            path.unlink()

    def close(self) -> None:
        """Close all event files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, stage: str) -> SummaryWriter:
        if stage not in self._writers:
            self._writers[stage] = SummaryWriter(str(self._folder), filename_suffix=_suffix(stage))
        return self._writers[stage]

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the settings as text, and as a row of the table of runs."""
        lines = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True).splitlines()
        values = {
            key: value if isinstance(value, int | float | str) else str(value) for key, value in flatten(settings)
        }
        experiment, start, _ = hparams(values, dict.fromkeys(_RESULTS, 0.0))  # type: ignore[no-untyped-call]  # of torch
        writer = FileWriter(str(self._folder), filename_suffix=_suffix("settings"))
        writer.add_summary(text("settings", "".join(f"    {line}\n" for line in lines)))  # type: ignore[no-untyped-call]
        for summary in (experiment, start):
            writer.add_summary(summary)
        writer.close()


def _suffix(stage: str) -> str:
    return f".{stage.replace(' ', '-')}"
