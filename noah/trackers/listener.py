"""A listener that passes on what a stage reports, and also logs its figures to the trackers of its run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from noah.progress import Bar, Detail, Listener, TrainingDetail
from noah.runs.folder import Run
from noah.settings.settings import Tracker as Name
from noah.trackers.log import Log


@dataclass(frozen=True, slots=True)
class TrackedListener:
    """Passes everything on, and logs details.

    Attributes:
        listener: Receives everything that this one receives.
        logs: The logs of the run's trackers; empty if nothing is tracked, or in a process that does not write.
    """

    listener: Listener
    logs: Sequence[Log] = ()

    def say(self, text: str) -> None:
        """Pass it on."""
        self.listener.say(text)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Give a bar that passes everything on and logs details."""
        with self.listener.bar(title, total, unit) as bar:
            yield _TrackedBar(bar, self.logs) if self.logs else bar

    def conclude(self, results: Mapping[str, float]) -> None:
        """Log final figures."""
        for log in self.logs:
            log.conclude(results)


@contextmanager
def tracked(run: Run, names: Sequence[Name], listener: Listener) -> Iterator[TrackedListener]:
    """Track what the `with` block does with a run.

    Args:
        run: The run; its log.jsonl records which trackers were used.
        names: The trackers to use.
        listener: Prints where each tracker keeps its figures, and receives everything from the stages.

    Raises:
        MissingPackageError: If the package of a tracker is not installed.
        RunError: If the file of what a tracker has received is damaged.
        UsageError: If a tracker's setup does not work.
    """
    if not names or not run.writes:
        yield TrackedListener(listener)
        return
    with ExitStack() as opened:
        logs = []
        for name in names:
            log = Log(run, name)
            opened.callback(log.close)
            logs.append(log)
            listener.say(f"tracker   {name}: {log.tracker.place}")
        run.log("trackers", "opened", names=list(names))
        yield TrackedListener(listener, logs)


class _TrackedBar:
    def __init__(self, bar: Bar, logs: Sequence[Log]) -> None:
        self._bar, self._logs = bar, logs
        self._epochs, self._since = 0, time.monotonic()

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self._bar.update(done, text, detail)
        if detail is None:
            return
        seconds = self._epoch_seconds(detail) if isinstance(detail, TrainingDetail) else None
        for log in self._logs:
            log.take(detail, seconds)
        self._since = time.monotonic()  # the time spent on trackers does not count for the next epoch

    def _epoch_seconds(self, detail: TrainingDetail) -> float | None:
        """The time of the last epoch, if exactly one epoch has passed since the previous detail; else None."""
        before, self._epochs = self._epochs, len(detail.losses)
        return time.monotonic() - self._since if self._epochs == before + 1 and detail.learning_rate else None
