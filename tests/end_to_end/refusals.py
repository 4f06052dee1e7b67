"""Commands that have to fail, and what they print then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.commands import Outcome, noah_line


def nothing(_: Path) -> None:
    """The working folder is good as it is."""


@dataclass(frozen=True)
class Case:
    """A command that has to fail.

    Attributes:
        line: As typed.
        code: Its exit code.
        error: What it prints on standard error, `Error: ` left off; a line that ends in "..." may go on.
        spoil: Changes the working folder first.
    """

    line: str
    code: int
    error: list[str]
    spoil: Callable[[Path], object] = nothing


def assert_refused(outcome: Outcome, code: int, error: list[str]) -> None:
    """The command failed with this and nothing else on standard error."""
    assert outcome.code == code, outcome.err
    expected = ["Error: " + error[0], *error[1:]]
    assert len(outcome.error_lines) == len(expected), outcome.err
    for found, line in zip(outcome.error_lines, expected, strict=True):
        if line.endswith("..."):
            assert found.startswith(line.removesuffix("..."))
        else:
            assert found == line


def refuse(case: Case, folder: Path) -> None:
    """Run a case in a working folder; it has to be refused before there is a run."""
    runs = folder / "runs"
    known = set(runs.glob("*/*"))
    case.spoil(folder)
    assert_refused(noah_line(case.line), case.code, case.error)
    assert set(runs.glob("*/*")) == known


def add_file(path: str, content: bytes | str) -> Callable[[Path], None]:
    """Write a file into the working folder."""

    def spoil(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def add_folder(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).mkdir(parents=True)


def add_image(path: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / path)

    return spoil
