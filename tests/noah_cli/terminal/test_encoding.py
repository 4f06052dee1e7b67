"""Whatever an output can show is shown, and plain characters stand for the rest."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah_cli.terminal.encoding import plain, show_plainly
from tests.commands import PROJECT, process_environment

ENCODINGS = ("ascii", "cp1252", "latin-1")
DRAW = """
import sys
from noah.space.subnet import Subnet
from noah_cli.terminal.console import ConsoleListener, draw_subnet, print_json
from noah_cli.terminal.encoding import show_plainly
show_plainly(sys.stdout)
listener = ConsoleListener()
for line in draw_subnet(Subnet(prompt=[1, 5, 0], lora=range(1, 4), adapter=[0, 0, 8]), 80):
    listener.console.print(line)
listener.say("test      81.5% \\u00b1 0.3 \\u2192 next\\u2026 \\u00d7")
print_json({"path": "\\u00e9\\u65e5 \\u00b1"})
"""


def strings_of_the_source() -> Iterator[str]:
    for package in ("noah", "export", "noah_cli"):
        for path in sorted((PROJECT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


OURS = sorted({character for text in strings_of_the_source() for character in text if not character.isascii()})


def written(text: str, encoding: str, errors: str = "strict") -> bytes:
    """What arrives in a file of this encoding."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="\n") as stream:
        show_plainly(stream)
        stream.write(text)
        stream.flush()
        return raw.getvalue()


def run(encoding: str, *arguments: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=process_environment() | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("character", OURS)
def test_each_of_our_characters_has_a_substitute(character: str) -> None:
    substitute = plain(character)
    assert substitute.isascii()
    assert substitute.isprintable()
    assert "\\" not in substitute


def test_the_search_for_our_characters_finds_some() -> None:
    assert {"±", "·", "\N{MULTIPLICATION SIGN}", "…", "█", "▁"} <= set(OURS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("errors", ["strict", "backslashreplace", "surrogateescape"])
def test_each_encoding_takes_each_of_our_characters(encoding: str, errors: str) -> None:
    for character in OURS:
        shown = written(f"a{character}b", encoding, errors).decode(encoding)
        assert shown in (f"a{character}b", f"a{plain(character)}b")


@given(st.text(), st.sampled_from([*ENCODINGS, "cp437", "utf-8"]))
def test_no_text_is_too_much_for_an_output(text: str, encoding: str) -> None:
    shown = written(text, encoding).decode(encoding)
    if text.isascii():
        assert shown == text


@given(st.text(st.characters(codec="utf-8")))
def test_where_everything_can_be_shown_nothing_changes(text: str) -> None:
    assert written(text, "utf-8").decode() == text


def test_what_stands_for_what() -> None:
    assert plain("1 ± 2 \N{MULTIPLICATION SIGN} 3 · 4…") == "1 +- 2 x 3 . 4..."
    assert plain("a → b ← c \N{EN DASH} d") == "a -> b <- c - d"
    assert plain("5 10⁻⁵, 10²") == "5 10^-5, 10^2"
    assert plain("─│└├┐") == "-|+++"
    assert plain("größe 日") == r"gr\xf6\xdfe \u65e5"  # a path has to be told exactly
    assert plain("\udcff") == r"\udcff"
    bars = plain(" ▁▂▃▄▅▆▇█")
    assert len(set(bars)) == len(bars) == 9  # one column each, and all different
    assert bars[-1] == "#"


def test_what_cannot_be_told_how_to_write_is_left_alone() -> None:
    stream = io.StringIO()
    show_plainly(stream)
    assert stream.write("±") == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_winner_is_drawn(encoding: str) -> None:
    code, out, err = run(encoding, "-c", DRAW)
    assert (code, err) == (0, b"")
    *lines, said, result = out.decode(encoding).splitlines()
    dot, sign, times = (".", "+-", "x") if encoding == "ascii" else ("·", "±", "\N{MULTIPLICATION SIGN}")
    assert lines == [
        "          block     1   2   3",
        f"          prompt    1.  5#  {dot}",
        "          lora      1:  2+  3#",
        f"          adapter   {dot}   {dot}   8#",
    ]
    assert said == f"test      81.5% {sign} 0.3 -> next{'...' if encoding != 'cp1252' else '…'} {times}"
    assert json.loads(result) == {"path": "é日 ±"}  # told exactly, in whatever letters


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["doctor"], marks=pytest.mark.slow),
        ["recipes"],
        ["recipes", "demo"],
        ["recipes", "größe日"],
        ["--help"],
        ["search", "--help"],
    ],
)
def test_commands_print_in_any_encoding(encoding: str, arguments: list[str]) -> None:
    code, out, err = run(encoding, "-m", "noah_cli", *arguments)
    assert b"Traceback" not in err
    assert code == (2 if "größe日" in arguments else code)
    assert code in (0, 1, 2)
    assert (out + err).decode(encoding).strip()


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_predictions_go_to_any_output(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from export.predict.prediction_table import open_writer
from noah_cli.terminal.encoding import show_plainly
show_plainly(sys.stdout)
with open_writer(None, format=sys.argv[1]) as writer:
    writer.write([Path("\\u65e5.png")], [["\\u00e9"]], np.array([[0.5]], np.float32))
"""
    done, out, err = run("ascii", "-c", code, "jsonl")
    assert (done, err) == (0, b"")
    assert json.loads(out) == {"path": "日.png", "label": "é", "probability": 0.5}
    done, out, err = run("ascii", "-c", code, "csv")
    assert (done, err) == (0, b"")
    assert out.decode("ascii").splitlines()[1] == r"\u65e5.png,\xe9,0.5"
