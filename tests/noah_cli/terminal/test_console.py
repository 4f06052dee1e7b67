"""What a person sees: hanging lines, progress, the drawing of a subnet; no control characters outside a terminal."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from noah.errors import NoahError
from noah.progress import TrainingDetail
from noah.space.budget import UNBOUNDED, Bound, Budget, parameter_budget
from noah.space.kinds import KINDS
from noah.space.search_space import PRESETS, make_space
from noah.space.subnet import Subnet
from noah_cli.terminal.console import (
    ConsoleListener,
    describe_space,
    draw_subnet,
    format_seconds,
    print_error,
    print_interrupted,
)

LONG = (
    "choice    The classes are uneven: [circle] has 1,200 images and square 3; --class-weights balanced makes each "
    "class count the same in training, which a run on /home/someone/a/rather/long/path/without/blanks shows."
)


def listener(columns: int, *, terminal: bool = False) -> tuple[ConsoleListener, io.StringIO]:
    """A listener that prints into memory."""
    printed = io.StringIO()
    made = ConsoleListener()
    made.console = Console(file=printed, width=columns, highlight=False, force_terminal=terminal, _environ={})
    return made, printed


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


@pytest.mark.parametrize("depth", [1, 2, 12, 24, 32])
@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_drawn_subnet_keeps_the_width_and_shows_every_block(depth: int, columns: int) -> None:
    subnet = Subnet(prompt=[100] * depth, lora=[0] * depth, adapter=range(depth))
    lines = draw_subnet(subnet, columns)
    assert max(map(len, lines)) <= columns
    blocks = " ".join(line.split("block")[1] for line in lines if "block" in line)
    assert blocks.split() == [str(block + 1) for block in range(depth)]
    widths = {name: re.findall(r"\d+|·", " ".join(line[18:] for line in lines if name in line)) for name in
              ("prompt", "lora", "adapter")}  # fmt: skip
    assert widths == {
        "prompt": ["100"] * depth,
        "lora": ["·"] * depth,
        "adapter": ["·", *(str(width) for width in range(1, depth))],
    }


def test_the_drawing_of_a_subnet() -> None:
    subnet = Subnet(prompt=[1, 5, 0], lora=[10, 1, 5], adapter=[0, 0, 0])
    assert draw_subnet(subnet, 80) == [
        "          block     1   2   3",
        "          prompt    1▂  5█  ·",
        "          lora     10█  1▁  5▄",
        "          adapter   ·   ·   ·",
    ]


def test_names_of_any_length_stand_beside_their_widths() -> None:
    subnet = Subnet(**{kind: [1, 0] * 6 for kind in KINDS})
    lines = draw_subnet(subnet, 80)
    assert max(map(len, lines)) <= 80
    heads, rows = lines[:: 1 + len(KINDS)], [line for line in lines if "block" not in line]
    assert len(heads) == 2
    assert {row.index("█") - 1 for row in rows} == {heads[0].index("1")}
    assert [row.split()[0] for row in rows] == [*KINDS] * len(heads)


def test_the_largest_width_of_a_module_has_the_highest_bar() -> None:
    (line,) = (line for line in draw_subnet(Subnet([0] * 8, range(1, 9), [0] * 8), 80) if "lora" in line)
    assert re.sub(r"[^▁▂▃▄▅▆▇█]", "", line) == "▁▂▃▄▅▆▇█"


def test_the_space_is_told_with_what_is_inside_the_budget() -> None:
    space = make_space(4, 16, {"prompt": (1, 5), "lora": (1, 2)}, (2, 4))
    assert describe_space(space, UNBOUNDED) == "400 subnets"
    parameters = parameter_budget(800, 16)
    inside = space.size(parameters)
    assert describe_space(space, parameters) == f"400 subnets, {inside} inside the budget of 800 parameters"
    every_kind = describe_space(make_space(24, 1024, PRESETS["full"], (0, 12, 24)), UNBOUNDED)
    assert re.fullmatch(r"\d\.\d x 10\^\d+ subnets", every_kind)
    bound = Bound("macs", 2_000_000, lambda subnet: 1e6 * max(subnet.prompt))
    words = describe_space(space, Budget((*parameters.bounds, bound)))
    told = re.fullmatch(
        r"400 subnets, about (\d+) \(standard error (\d+)\) inside the budget of 800 parameters and 2 M "
        "multiply-accumulates an image",
        words,
    )
    assert told is not None
    assert 0 < int(told[1]) < inside
    assert int(told[2]) > 0


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


@pytest.mark.parametrize(
    "call",
    [
        lambda: print_error(NoahError("Wrong.", "Right.")),
        lambda: print_interrupted("x"),
        lambda: ConsoleListener().say(LONG),
        lambda: ConsoleListener().say_next("noah eval"),
    ],
)
def test_no_control_characters_outside_a_terminal(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call()
    captured = capsys.readouterr()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", captured.out + captured.err)


def test_an_error_is_not_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_error(NoahError("word " * 30 + "[end]", "hint " * 30))
    assert capsys.readouterr().err.splitlines() == ["Error: " + "word " * 30 + "[end]", "hint " * 30]


def test_results_and_progress_can_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleListener(error=True).say("progress  here")
    ConsoleListener().say("result    there")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result    there\n", "progress  here\n")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 s"),
        (0.43, "0.4 s"),
        (0.97, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


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
