"""A disk that is full and a folder that may not be written to: a clear error, and then it goes on.

Each needs a file system of its own, which only root may mount on Linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import noah
from tests.conftest import TinySettings
from tests.torture.road import STAGES, Road, check_nothing_is_torn, command_of, go_on, make_road, prepare, results

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small file system takes root on Linux"
    ),
]

ROOM = 64 * 2**20
"""Bytes of the small disk."""


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, photo_folder: Path) -> Road:
    return make_road(tmp_path_factory.mktemp("whole"), tiny_settings, photo_folder)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder that is a file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)], check=True)
    monkeypatch.chdir(folder)
    yield folder
    monkeypatch.chdir(tmp_path)
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for _ in range(max(0, shutil.disk_usage(folder).free - leave) // 4096):
            file.write(bytes(4096))
    return ballast


@pytest.mark.parametrize("leave", [0, 64 * 2**10, 512 * 2**10])
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(stage: str, leave: int, road: Road, disk: Path) -> None:
    run = prepare(road, disk, stage)
    ballast = fill(disk, leave)
    outcome = noah(*command_of(stage))
    if outcome.code:  # with some room left a stage may have enough
        assert outcome.code == 1
        assert "no space left on device" in outcome.err.lower()
        assert "Traceback" not in outcome.err
    else:
        assert leave
    check_nothing_is_torn(run)
    ballast.unlink()
    go_on(run, stage)
    assert results(run, stage) == road.results(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_that_may_only_be_read(stage: str, road: Road, disk: Path) -> None:
    run = prepare(road, disk, stage)
    before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outcome = noah(*command_of(stage))
    assert outcome.code == 1
    assert "read-only file system" in outcome.err.lower()
    assert "Traceback" not in outcome.err
    assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    go_on(run, stage)
    assert results(run, stage) == road.results(stage)
