"""The table of all candidates of `noah export --format auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from noah.progress import counted

if TYPE_CHECKING:  # they import pydantic
    from export.artifact.records import CandidateRecord, ChoiceRecord
    from noah_cli.terminal.console import ConsoleListener


def print_choice(listener: ConsoleListener, choice: ChoiceRecord) -> None:
    """Print every candidate: its accuracy and speed, or why it was not timed."""
    drawn = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    columns = ("candidate", "accuracy", "lost", "ms", "images/s", "ratio", "")
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="left" if number in (0, len(columns) - 1) else "right", no_wrap=True)
    for one in sorted(choice.candidates, key=lambda one: one.seconds or 0.0):
        if one.refused is None:
            drawn.add_row(*_line(one, choice, "chosen" if one is choice.chosen else "as fast" if one.is_close else ""))
    seconds = choice.backbone_seconds
    drawn.add_row("plain backbone", "", "", f"{1000 * seconds:.2f}", _rate(choice.batch, seconds), "1")
    listener.console.print(drawn, markup=False)
    listener.say(
        f"ratio     how many times as fast as the plain backbone in float32: median of {choice.rounds} rounds of "
        f"{counted(choice.batch, 'images')}, on {choice.gpu or choice.processor}, threads: {choice.threads}"
    )
    in_float32 = _share(choice.correct_in_float32, choice)
    listener.say(f"accuracy  and its points that are lost, on {choice.images}; in float32 it is {in_float32}")
    for one in choice.candidates:
        if one.refused is not None:
            lost = choice.points_lost(one)
            listener.say(f"rejected  {one.name}{'' if lost is None else f', {lost:.2f} points lost'}: {one.refused}")
    listener.say("          Only the chosen candidate was kept.")


def _line(one: CandidateRecord, choice: ChoiceRecord, note: str) -> tuple[str, ...]:
    """The row of a candidate that was timed."""
    lost, seconds, speed = choice.points_lost(one), one.seconds or 0.0, one.times_as_fast or (0.0, 0.0, 0.0)
    accuracy = _share(one.correct or 0, choice)
    times = (f"{1000 * seconds:.2f}", _rate(choice.batch, seconds), f"{speed[1]:.2f}")
    return one.name, accuracy, f"{lost or 0.0:.2f}", *times, note


def _share(correct: int, choice: ChoiceRecord) -> str:
    return f"{correct / choice.total:.2%}"


def _rate(batch: int, seconds: float) -> str:
    return f"{batch / seconds:,.0f}" if seconds else ""
