"""What the user sees: lines, progress bars, the winner, errors."""

from __future__ import annotations

import math
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from noah.errors import NoahError, ProcessError, UsageError
from noah.files.json_text import json_line
from noah.hardware.processes import ALONE, Processes, launched_processes
from noah.progress import Bar, Detail, counted
from noah.space.kinds import with_published
from noah.space.subnet import Subnet
from noah_cli.terminal.output import Output
from noah_cli.terminal.progress_lines import draw_detail

if TYPE_CHECKING:
    from noah.space.budget import Budget
    from noah.space.search_space import SearchSpace

_SECONDS_BETWEEN_LINES = 15.0
"""How often progress prints a line if the output is not a terminal."""
_LABEL = 10
"""Columns of the label on the left."""
_MODULE, _CELL = 8, 4
"""Columns of a module's name, if none is longer, and of a width with its bar, in the drawing of a subnet."""
_BARS = " ▁▂▃▄▅▆▇█"


def open_listener(context: typer.Context, *, error: bool = False) -> ConsoleListener:
    """Open the listener of a command, with the kind of output that its line asks for.

    Args:
        context: The command's context, which holds the `Output`.
        error: Print to standard error, because standard output carries results.
    """
    return ConsoleListener(error=error, output=context.find_object(Output) or Output())


class ConsoleListener:
    """Prints what a stage reports, in the first process: bars on a terminal, an occasional line elsewhere.

    Args:
        error: Print to standard error, because standard output carries results.
        output: How much to print, and whether the result is a JSON object, which has standard output to itself.
    """

    def __init__(self, *, error: bool = False, output: Output = Output()) -> None:  # noqa: B008  # an immutable value
        self.output = output
        quiet = output.quiet or not launched_processes().is_first
        self.console = Console(stderr=error or output.json, highlight=False, soft_wrap=False, quiet=quiet)

    def say_more(self, text: str) -> None:
        """Print a line if --verbose asks for it."""
        if self.output.verbose:
            self.say(text)

    def result(self, value: Mapping[str, object]) -> None:
        """Print the result of the command as JSON if --json asks for it."""
        if self.output.json and launched_processes().is_first:
            print_json(value)

    def say(self, text: str) -> None:
        """Print a line that begins with a label of ten columns, or with as many blanks to continue under one.

        Text that is too long for the terminal continues under the text, not under the label.
        """
        label, rest = text[:_LABEL], text[_LABEL:]
        lines = textwrap.wrap(
            rest, max(self.console.width - _LABEL, 20), break_long_words=False, break_on_hyphens=False
        ) or [""]
        body = f"\n{' ' * _LABEL}".join(map(escape, lines))
        self.console.print(f"[bold]{escape(label)}[/bold]{body}", soft_wrap=True)

    def say_next(self, command: str) -> None:
        """Print the command to type next, in one piece so that it can be copied."""
        self.console.print(f"[bold]{'next':<{_LABEL}}[/bold]{escape(command)}", soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Show progress until the `with` block ends, then one line with the time it took."""
        started = time.monotonic()
        bar: _LiveBar | _PlainBar
        if self.console.is_terminal:
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
        return Group(bar, *(Text.assemble((line[:_LABEL], "bold"), line[_LABEL:], no_wrap=True) for line in lines))


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


def describe_space(space: SearchSpace, budget: Budget) -> str:
    """Say how many subnets a space has, and how many of them are inside the budget."""
    from noah.space.operators import estimate_size  # imports numpy, which most commands do not need

    text = f"{_count(space.size())} subnets"
    if not budget.bounds:
        return text
    inside = estimate_size(space, budget)
    number = _count(inside.number)
    if budget.others:
        number = f"about {_round(inside.number):,} (standard error {_round(inside.standard_error):,})"
    return f"{text}, {number} inside the budget of {budget.describe()}"


def _count(number: int) -> str:
    """Write a number of subnets in full unless it is beyond reading, as that of a space of every kind is."""
    return f"{number:,}" if number < 10**18 else f"{Decimal(number):.1e}".replace("e+", " x 10^")


def _round(number: float) -> int:
    """Round an estimate to three digits."""
    return int(float(f"{number:.3g}"))


def draw_subnet(subnet: Subnet, columns: int) -> list[str]:
    """Draw a subnet as lines of text: blocks across, modules down, each width with a bar on its module's scale.

    Args:
        subnet: The subnet; one with too many blocks for a line continues below, in rows of equally many blocks.
        columns: Width of the terminal.
    """
    lines = []
    shown = with_published(subnet.kinds)
    named = max(_MODULE, *(len(module) + 1 for module in shown))
    fitting = max((columns - _LABEL - named) // _CELL, 1)
    a_row = math.ceil(subnet.depth / math.ceil(subnet.depth / fitting))
    for start in range(0, subnet.depth, a_row):
        blocks = range(start, min(start + a_row, subnet.depth))
        lines.append(f"          {'block':<{named}}" + "".join(f"{block + 1:>3} " for block in blocks).rstrip())
        for module in shown:
            widths = subnet.widths(module)
            largest = max(widths) or 1
            cells = (f"{widths[block] or '·':>3}{_BARS[math.ceil(8 * widths[block] / largest)]}" for block in blocks)
            lines.append(f"          {module:<{named}}" + "".join(cells).rstrip())
    return lines


def print_json(value: Mapping[str, object]) -> None:
    """Print a command's result on standard output as one JSON object."""
    print(json_line(value, sys.stdout))


def print_error(error: NoahError, processes: Processes = ALONE) -> None:
    """Print an error on standard error: what is wrong, then what to type.

    Each of several processes reports only what happened to itself. The first one also reports that another has stopped
    and, on its own machine, what is wrong with the command that all of them were given.
    """
    common = isinstance(error, ProcessError) or (isinstance(error, UsageError) and processes.local_rank > 0)
    console = Console(stderr=True, highlight=False, quiet=common and not processes.is_first)
    where = "" if processes.is_first else f" in {processes}"
    console.print(f"[bold red]Error{where}:[/bold red] {escape(error.problem)}", soft_wrap=True)
    if error.hint:
        console.print(escape(error.hint), soft_wrap=True)


def print_interrupted(command: str) -> None:
    """Print what to type after Ctrl-C."""
    quiet = not launched_processes().is_first
    Console(stderr=True, highlight=False, quiet=quiet).print(
        f"\nInterrupted. Go on with: {escape(command)}", soft_wrap=True
    )


def format_seconds(seconds: float) -> str:
    """Format a time as 0.4 s, 45 s, 3 min 20 s or 2 h 5 min."""
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
