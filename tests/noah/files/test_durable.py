"""What differs between systems, played on this one: nothing here was run on Windows or macOS."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from noah.files.durable import replace, sync

TARGET_IS_OPEN = PermissionError(13, "The process cannot access the file because it is being used by another process")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def files(folder: Path) -> tuple[Path, Path]:
    source, target = folder / "source", folder / "target"
    source.write_text("new")
    target.write_text("old")
    return source, target


def opened_elsewhere(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The target is open in another program for so many tries."""
    really, left = Path.replace, [times]

    def as_windows_does(self: Path, target: Path) -> Path:
        if left[0]:
            left[0] -= 1
            raise TARGET_IS_OPEN
        return really(self, target)

    monkeypatch.setattr(Path, "replace", as_windows_does)


@pytest.mark.parametrize("times", [0, 1, 19])
def test_windows_waits_until_another_program_has_closed_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float], times: int
) -> None:
    source, target = files(tmp_path)
    monkeypatch.setattr(sys, "platform", "win32")
    opened_elsewhere(monkeypatch, times)
    replace(source, target)
    assert target.read_text() == "new" and not source.exists()
    assert slept == [0.05] * times


@pytest.mark.parametrize(("platform", "times", "waits"), [("win32", 20, 19), ("linux", 1, 0), ("darwin", 1, 0)])
def test_what_is_not_allowed_is_an_error_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slept: list[float], platform: str, times: int, waits: int
) -> None:
    source, target = files(tmp_path)
    monkeypatch.setattr(sys, "platform", platform)
    opened_elsewhere(monkeypatch, times)
    with pytest.raises(PermissionError):
        replace(source, target)
    assert target.read_text() == "old" and len(slept) == waits


@pytest.mark.parametrize("supported", [True, False])
def test_macos_empties_the_cache_of_the_disk_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    asked: list[Any] = []

    def as_macos_does(descriptor: int, command: int) -> int:
        asked.append(("fcntl", command))
        if not supported:
            raise OSError(45, "Operation not supported")
        return 0

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "fcntl", as_macos_does)
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append("fsync"))
    with (tmp_path / "file").open("wb") as file:
        sync(file.fileno())
    assert asked == [("fcntl", 51), *([] if supported else ["fsync"])]
