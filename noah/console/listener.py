"""Prints what a stage reports through rich: bars in a terminal or a notebook, an occasional line elsewhere."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from noah.console.durations import format_seconds
from noah.console.progress_lines import draw_detail
from noah.progress import Bar, Detail, counted

LABEL = 10
"""Columns of the label on the left."""
_SECONDS_BETWEEN_LINES = 15.0
"""How often progress prints a line where a bar cannot move."""


class RichListener:
    """Prints what a stage reports.

    Args:
        console: Where to. In a notebook, bars need the package ipywidgets; without it, progress prints lines.
        verbose: Also print what only `say_more` is told.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self.console = console
        self.verbose = verbose

    def say_more(self, text: str) -> None:
        """Print a line if --verbose asks for it."""
        if self.verbose:
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line that begins with a label of ten columns, or with as many blanks to continue under one.

        Text that is too long for the terminal continues under the text, not under the label.
        """
        label, rest = text[:LABEL], text[LABEL:]
        lines = textwrap.wrap(
            rest, max(self.console.width - LABEL, 20), break_long_words=False, break_on_hyphens=False
        ) or [""]
        body = f"\n{' ' * LABEL}".join(map(escape, lines))
        self.console.print(f"[bold]{escape(label)}[/bold]{body}", soft_wrap=True)

    def say_next(self, command: str) -> None:
        """Print the command to type next, in one piece so that it can be copied."""
        self.console.print(f"[bold]{'next':<{LABEL}}[/bold]{escape(command)}", soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Show progress until the `with` block ends, then one line with the time it took."""
        started = time.monotonic()
        bar: _LiveBar | _PlainBar
        if _can_move(self.console):
            bar = _LiveBar(self.console, title, total)
            with Live(get_renderable=bar.draw, console=self.console, transient=True, refresh_per_second=4):
                yield bar
        else:
            bar = _PlainBar(self.console, title, total, unit)
            yield bar
        seconds = time.monotonic() - started
        if seconds >= 2:
            text = f", {bar.text}" if bar.text else ""
            self.say(f"{'done':<10}{title}: {counted(bar.done, unit)} in {format_seconds(seconds)}{text}")


def _can_move(console: Console) -> bool:
    """Whether a bar can be drawn anew in its place."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


class _LiveBar:
    def __init__(self, console: Console, title: str, total: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        )
        self.console, self.task = console, self.progress.add_task(escape(title), total=total, text="")
        self.done, self.text = 0, ""
        self.detail: Detail | None = None
        self.first: tuple[float, float] | None = None
        self.last = (0.0, 0.0)

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self.done, self.text, self.detail = int(done), text or self.text, detail or self.detail
        self.last = (done, time.monotonic())
        self.first = self.first or self.last  # a resumed stage first reports what was done before
        self.progress.update(self.task, completed=done, text="" if self.detail else self.text)

    def draw(self) -> RenderableType:
        """Draw the bar, and the lines of detail under it."""
        bar = self.progress.get_renderable()
        if self.detail is None or self.first is None:
            return bar
        done, seconds = (now - begun for now, begun in zip(self.last, self.first, strict=True))
        lines = draw_detail(self.detail, done, seconds, self.console.width)
        return Group(bar, *(Text.assemble((line[:LABEL], "bold"), line[LABEL:], no_wrap=True) for line in lines))


class _PlainBar:
    def __init__(self, console: Console, title: str, total: int, unit: str) -> None:
        self.console, self.title, self.total, self.unit = console, title, total, unit
        self.done, self.text = 0, ""
        self.printed = time.monotonic()

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self.done, self.text = int(done), text or self.text
        if time.monotonic() - self.printed >= _SECONDS_BETWEEN_LINES and done < self.total:
            self.printed = time.monotonic()
            text = f", {self.text}" if self.text else ""
            self.console.print(
                f"          {self.title}: {done / self.total:.0%} of {counted(self.total, self.unit)}{text}",
                soft_wrap=True,
            )
