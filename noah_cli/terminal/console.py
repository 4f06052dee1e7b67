"""What the user sees: lines, progress bars, the winner, errors."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from noah.console.listener import LABEL, RichListener
from noah.errors import NoahError, ProcessError, UsageError
from noah.files.json_text import json_line
from noah.hardware.processes import ALONE, Processes, launched_processes
from noah.space.kinds import with_published
from noah.space.subnet import Subnet
from noah_cli.terminal.output import Output

if TYPE_CHECKING:
    pass

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


class ConsoleListener(RichListener):
    """Prints what a stage reports, in the first process, and the result of the command.

    Args:
        error: Print to standard error, because standard output carries results.
        output: How much to print, and whether the result is a JSON object, which has standard output to itself.
    """

    def __init__(self, *, error: bool = False, output: Output = Output()) -> None:  # noqa: B008  # an immutable value
        self.output = output
        quiet = output.quiet or not launched_processes().is_first
        console = Console(stderr=error or output.json, highlight=False, soft_wrap=False, quiet=quiet)
        super().__init__(console, verbose=output.verbose)

    def result(self, value: Mapping[str, object]) -> None:
        """Print the result of the command as JSON if --json asks for it."""
        if self.output.json and launched_processes().is_first:
            print_json(value)


def draw_subnet(subnet: Subnet, columns: int) -> list[str]:
    """Draw a subnet as lines of text: blocks across, modules down, each width with a bar on its module's scale.

    Args:
        subnet: The subnet; one with too many blocks for a line continues below, in rows of equally many blocks.
        columns: Width of the terminal.
    """
    lines = []
    shown = with_published(subnet.kinds)
    named = max(_MODULE, *(len(module) + 1 for module in shown))
    fitting = max((columns - LABEL - named) // _CELL, 1)
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


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """End the program with exit code 130 if Ctrl-C interrupts the `with` block, after printing what to type then."""
    try:
        yield
    except KeyboardInterrupt:
        print_interrupted(command)
        raise typer.Exit(130) from None


def print_interrupted(command: str) -> None:
    """Print what to type after Ctrl-C."""
    quiet = not launched_processes().is_first
    Console(stderr=True, highlight=False, quiet=quiet).print(
        f"\nInterrupted. Go on with: {escape(command)}", soft_wrap=True
    )
