"""What tasks report while they run: they put it into one mailbox, which the driver empties."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from noah.progress import Detail

_SECONDS_BETWEEN = 0.5
"""How often a task reports its progress at most."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something that a task tells the driver.

    Attributes:
        task: The name of the task.
        machine: Ray's name for the machine that it runs on.
        text: A line as for `Listener.say`; or the title and a few words of a progress bar.
        done: Units of the bar that are done; None for a line.
        total: Units of the bar.
        detail: What the bar was told besides.
        kept: Bytes for the driver to keep, in place of all the above.
    """

    task: str
    machine: str
    text: str = ""
    done: float | None = None
    total: int = 0
    detail: Detail | None = None
    kept: bytes | None = None

    def __str__(self) -> str:
        if self.done is None:
            return f"{self.task}: {self.text[10:]}"
        return f"{self.task}: {self.text} {self.done / max(self.total, 1):.0%}"


class Mailbox:
    """An actor of the driver's machine that holds reports until the driver takes them."""

    def __init__(self) -> None:
        self._reports: list[Report] = []

    def put(self, report: Report) -> None:
        """Keep a report."""
        self._reports.append(report)

    def take(self) -> list[Report]:
        """Give what has come since the last time."""
        taken, self._reports = self._reports, []
        return taken


def open_mailbox(ray: Any) -> Any:
    """Start a mailbox on the driver's machine, which is there as long as the driver."""
    here = ray.get_runtime_context().get_node_id()
    pin = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=pin).remote()


class Reporter:
    """The listener of a task, which sends what it hears to the mailbox.

    Args:
        task: The name of the task.
        machine: Ray's name for this machine.
        send: Sends a report, without waiting for it to arrive.
        clock: Gives seconds that never go backwards.
        detailed: Whether to send what bars are told besides words, too.
    """

    def __init__(
        self,
        task: str,
        machine: str,
        send: Callable[[Report], object],
        clock: Callable[[], float] = time.monotonic,
        *,
        detailed: bool = False,
    ) -> None:
        self._task, self._machine, self._send, self._clock = task, machine, send, clock
        self._detailed = detailed

    def say(self, text: str) -> None:
        """Send a line."""
        self._send(Report(self._task, self._machine, text))

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[_ReportedBar]:
        """Report progress a few times a second at most, and always the last of it."""

        def send(done: float, text: str, detail: Detail | None) -> None:
            words = f"{title}, {text}," if text else title
            self._send(Report(self._task, self._machine, words, done, total, detail if self._detailed else None))

        bar = _ReportedBar(send, self._clock)
        try:
            yield bar
        finally:
            bar.flush()


class _ReportedBar:
    def __init__(self, send: Callable[[float, str, Detail | None], None], clock: Callable[[], float]) -> None:
        self._send, self._clock = send, clock
        self._sent_at = float("-inf")
        self._left: float | None = None
        self._text = ""
        self._detail: Detail | None = None

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self._left, self._text, self._detail = done, text or self._text, detail or self._detail
        if self._clock() - self._sent_at >= _SECONDS_BETWEEN:
            self.flush()

    def flush(self) -> None:
        if self._left is not None:
            self._send(self._left, self._text, self._detail)
            # A detail goes out once: whoever hears it takes it for news, such as the end of an epoch.
            self._left, self._detail, self._sent_at = None, None, self._clock()
