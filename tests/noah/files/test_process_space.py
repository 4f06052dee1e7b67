"""Where a process number means one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from noah.files import process_space as subject
from noah.files.process_space import process_space
from tests.commands import process_environment

PRINT = "from noah.files.process_space import process_space; print(process_space())"


def space_of_another(*before: str) -> str:
    """What another process says, behind the words of a command that starts it."""
    command = [*before, sys.executable, "-c", PRINT]
    done = subprocess.run(command, env=process_environment(), capture_output=True, text=True, check=False, timeout=120)
    if before and done.returncode:
        pytest.skip(f"no namespace of its own may be made here: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")
def test_processes_share_a_space_unless_one_is_in_a_container() -> None:
    assert process_space() == space_of_another() != ""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="nothing here makes namespaces")
def test_a_container_has_a_space_of_its_own() -> None:
    inside = space_of_another("unshare", "--user", "--map-root-user", "--pid", "--fork")
    assert inside not in ("", process_space())


def test_a_linux_that_tells_nothing_shares_its_space_with_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(subject, "_BOOT", tmp_path / "missing")
    mine = process_space()
    assert mine == process_space() != ""
    monkeypatch.setattr(subject, "_OF_THIS_PROCESS", "that of another process")
    assert process_space() != mine


def test_other_systems_are_told_apart_by_their_hardware_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert process_space() == process_space() != ""
