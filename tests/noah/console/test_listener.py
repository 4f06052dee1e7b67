"""Hanging lines and progress: in a terminal, in a notebook, and where no bar can move."""

from __future__ import annotations

import io
import time
from contextlib import nullcontext

import pytest
from rich.console import Console

from noah.console.listener import RichListener
from noah.progress import TrainingDetail

LONG = (
    "choice    The classes are uneven: [circle] has 1,200 images and square 3; --class-weights balanced makes each "
    "class count the same in training, which a run on /home/someone/a/rather/long/path/without/blanks shows."
)


def listener(columns: int, *, terminal: bool = False) -> tuple[RichListener, io.StringIO]:
    """A listener that prints into memory."""
    printed = io.StringIO()
    return RichListener(
        Console(file=printed, width=columns, highlight=False, force_terminal=terminal, _environ={})
    ), printed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until its one value is changed."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_lines_hang_under_their_text_and_keep_the_width(columns: int) -> None:
    made, printed = listener(columns)
    made.say(LONG)
    first, *others = printed.getvalue().splitlines()
    assert first.startswith("choice    The classes")
    assert others
    assert all(line.startswith(" " * 10) and line[10] != " " for line in others)
    for line in (first, *others):
        assert len(line) <= columns or len(line.split()) == 1
    assert " ".join(printed.getvalue().split()) == " ".join(LONG.split())  # brackets included, nothing lost


def test_a_terminal_too_narrow_for_labels_still_gets_whole_words() -> None:
    made, printed = listener(12)
    made.say("label     some words to print")
    assert printed.getvalue() == "label     some words to print\n"


def test_the_next_command_stays_in_one_piece() -> None:
    made, printed = listener(40)
    command = "noah predict 'runs/my photos/first/export/onnx-fp32' IMAGES... --out predictions.csv"
    made.say_next(command)
    assert printed.getvalue() == f"next      {command}\n"


def test_without_a_terminal_progress_is_a_line_now_and_then(clock: list[float]) -> None:
    made, printed = listener(80)
    with made.bar("training", 10, "epochs") as bar:
        for done in range(11):
            clock[0] += 4
            bar.update(done, f"loss {done}")
    assert printed.getvalue().splitlines() == [
        "          training: 30% of 10 epochs, loss 3",
        "          training: 70% of 10 epochs, loss 7",
        "done      training: 10 epochs in 44 s, loss 10",
    ]


def test_what_takes_less_than_two_seconds_is_not_told(clock: list[float]) -> None:
    made, printed = listener(80)
    with made.bar("decoding", 1000, "images") as bar:
        clock[0] += 1.9
        bar.update(1000)
    assert printed.getvalue() == ""


def test_work_that_fails_is_not_called_done(clock: list[float]) -> None:
    made, printed = listener(80)
    with pytest.raises(KeyboardInterrupt), made.bar("training", 10, "epochs") as bar:
        clock[0] += 10
        bar.update(1)
        raise KeyboardInterrupt
    assert printed.getvalue() == ""


def test_on_a_terminal_there_is_a_bar_that_goes_away() -> None:
    made, printed = listener(80, terminal=True)
    with made.bar("training [1]", 10, "epochs") as bar:
        bar.update(4, "loss 0.5")
    text = printed.getvalue()
    assert "training [1]" in text
    assert "4/10" in text
    assert "loss 0.5" in text
    assert "\x1b[2K" in text  # erased at the end


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_details_stand_under_the_bar_until_it_is_done(clock: list[float], columns: int) -> None:
    made, printed = listener(columns, terminal=True)
    with made.bar("training", 10, "epochs") as bar:
        bar.update(2, detail=TrainingDetail(80, (3.0, 2.0)))  # where a training that was stopped goes on
        clock[0] += 4
        bar.update(4, "loss 1.000", TrainingDetail(80, (3.0, 2.0, 1.5, 1.0)))
        shown = Console(file=io.StringIO(), width=columns, _environ={})
        shown.print(bar.draw())  # type: ignore[attr-defined]  # the bar of a terminal
    lines = shown.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is a StringIO
    assert lines[0].startswith("training ")
    assert "4/10" in lines[0]
    assert lines[1:] == ["speed     40 images a second", "loss      1.000 █▅▃▁"]
    assert all(len(line) <= columns for line in lines)
    assert "training: 4 epochs in 4 s, loss 1.000" in printed.getvalue().splitlines()[-1]


@pytest.mark.parametrize("installed", [True, False])
def test_in_a_notebook_a_bar_moves_where_the_package_for_that_is_installed(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    asked = []

    def find(name: str) -> object:
        asked.append(name)
        return object() if installed else None

    monkeypatch.setattr("noah.console.listener.find_spec", find)
    made = RichListener(Console(file=io.StringIO(), force_jupyter=True))
    monkeypatch.setattr("noah.console.listener.Live", lambda **_: nullcontext())  # a kernel would show it
    with made.bar("training", 10, "epochs") as bar:
        assert hasattr(bar, "draw") == installed
    assert asked == ["ipywidgets"]
