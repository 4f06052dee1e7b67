"""The table of all candidates of `noah export --format auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:  # they import pydantic
    from export.artifact.records import CandidateRecord, ChoiceRecord
    from noah_cli.terminal.console import ConsoleListener


def print_choice(listener: ConsoleListener, choice: ChoiceRecord) -> None:
    """Print every candidate: its accuracy and speed, or why it was not timed."""
    drawn = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    columns = ("candidate", "accuracy", "points lost", "ms per batch", "images/s", "times as fast", "")
    for number, column in enumerate(columns):
        text = number in (0, len(columns) - 1)
        drawn.add_column(column, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    for one in sorted(choice.candidates, key=_by_speed):
        note = "chosen" if one is choice.chosen else "as fast by these times" if one.is_close else ""
        drawn.add_row(*_line(one, choice, note))
    seconds = choice.backbone_seconds
    drawn.add_row("plain backbone", "", "", f"{1000 * seconds:.2f}", _rate(choice.batch, seconds), "1")
    listener.console.print(drawn, markup=False)
    listener.say(
        f"ratio     how many times as fast as the plain backbone in float32: median of {choice.rounds} rounds of "
        f"{choice.batch} images, on {choice.gpu or choice.processor}, threads: {choice.threads}"
    )
    listener.say(f"accuracy  on {choice.images}; the network in float32: {_share(choice.correct_in_float32, choice)}")
    listener.say("          Only the chosen candidate was kept.")


def _by_speed(one: CandidateRecord) -> tuple[bool, float]:
    """The fastest first; what was not timed last."""
    return one.seconds is None, one.seconds or 0.0


def _line(one: CandidateRecord, choice: ChoiceRecord, note: str) -> tuple[str, ...]:
    lost = choice.points_lost(one)
    accuracy = "" if one.correct is None else _share(one.correct, choice)
    points = "" if lost is None else f"{lost:.2f}"
    if one.seconds is None or one.times_as_fast is None:
        return one.name, accuracy, points, "", "", "", one.refused or ""
    ratio = f"{one.times_as_fast[1]:.2f}"
    return one.name, accuracy, points, f"{1000 * one.seconds:.2f}", _rate(choice.batch, one.seconds), ratio, note


def _share(correct: int, choice: ChoiceRecord) -> str:
    return f"{correct / choice.total:.2%}"


def _rate(batch: int, seconds: float) -> str:
    return f"{batch / seconds:,.0f}" if seconds else ""
