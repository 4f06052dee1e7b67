"""Runs noah's real commands: in this process, where torch is imported once, or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from noah_cli.app import main

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Everything on standard output with single spaces, so that line breaks do not matter."""
        return " ".join(self.out.split())

    @property
    def error_lines(self) -> list[str]:
        """The lines on standard error."""
        return self.err.splitlines()


def noah(*arguments: object) -> Outcome:
    """Run `noah ARGUMENTS...` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def noah_line(line: str) -> Outcome:
    """Run a line as a person would type it, `noah` included; what follows a # is a comment."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "noah", line
    return noah(*arguments)


def start_noah(*arguments: object, folder: Path) -> subprocess.Popen[str]:
    """Start `noah ARGUMENTS...` as a process of its own in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "noah_cli", *map(str, arguments)],
        cwd=folder,
        env=process_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code: str, *arguments: object, folder: Path) -> Outcome:
    """Run Python code as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env=process_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def process_environment() -> dict[str, str]:
    """This environment, with the checkout importable from any folder and nothing that colors or widens output."""
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS")}
    return environment | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}


def write_settings(folder: Path, settings: object, name: str = "noah.yaml") -> Path:
    """Write a settings file into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def file_contents(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The bytes of every file below a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in without
    }
