"""Files in a shared folder are there whole or not at all; object stores are tested with the cluster's predictions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from noah.errors import NoahError, UsageError
from noah.files.shared_folder import SharedFolder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(b"new")
    return tmp_path / "source"


def test_what_is_put_is_listed_and_read(tmp_path: Path, file: Path) -> None:
    folder = SharedFolder(str(tmp_path / "deep" / "er"))
    assert folder.names() == ()
    folder.put(file, "b")
    folder.put(file, "a")
    assert folder.names() == ("a", "b")
    with folder.open("a") as opened:
        assert opened.read() == b"new"
    with pytest.raises(FileNotFoundError):
        folder.open("c")


def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SharedFolder(str(tmp_path / "out"))
    folder.put(file, "a")
    file.write_bytes(b"newer")

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(NoahError, match="no space left on device"):
        folder.put(file, "a")
    assert folder.names() == ("a",)
    assert (tmp_path / "out" / "a").read_bytes() == b"new"


def test_files_are_fetched_and_removed(tmp_path: Path, file: Path) -> None:
    folder = SharedFolder(f"file://{tmp_path / 'out'}")
    assert not folder.fetch("a", tmp_path / "back")
    folder.put(file, "a")
    assert folder.fetch("a", tmp_path / "back") and (tmp_path / "back").read_bytes() == b"new"
    folder.remove("a")
    folder.remove("a")
    assert folder.names() == ()


def test_the_hint_fits_the_cause(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, hint in ((28, "Make room there."), (13, "Check who may write there, or name another place.")):

        def refuse(source: Path, target: Path, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(shutil, "copyfile", refuse)
        with pytest.raises(NoahError) as raised:
            SharedFolder(str(tmp_path / "out")).put(file, "a")
        assert raised.value.hint == hint


def test_what_a_killed_process_left_is_removed(tmp_path: Path, file: Path) -> None:
    folder = SharedFolder(str(tmp_path / "out"))
    folder.put(file, "a")
    (tmp_path / "out" / ".a.12345678.tmp").write_bytes(b"ne")
    folder.remove_unfinished()
    assert folder.names() == ("a",)


@pytest.mark.parametrize("place", ["memory://x", "http://host/x", "sftp://host/x"])
def test_stores_that_show_half_of_a_file_are_refused(place: str) -> None:
    with pytest.raises(UsageError, match="whole or not at all"):
        SharedFolder(place)
