"""What a person sees: hanging lines, progress, the drawing of a subnet; no control characters outside a terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from noah.errors import NoahError
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet
from noah_cli.terminal.console import (
    ConsoleListener,
    draw_subnet,
    print_error,
    print_interrupted,
)

LONG = (
    "choice    The classes are uneven: [circle] has 1,200 images and square 3; --class-weights balanced makes each "
    "class count the same in training, which a run on /home/someone/a/rather/long/path/without/blanks shows."
)


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
    lines = [line.rstrip() for line in capsys.readouterr().err.splitlines()]
    assert lines == ["Error: " + "word " * 30 + "[end]", ("hint " * 30).rstrip()]


def test_results_and_progress_can_go_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleListener(error=True).say("progress  here")
    ConsoleListener().say("result    there")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result    there\n", "progress  here\n")
