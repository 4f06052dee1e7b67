from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from noah.files.atomic import atomic_file, write_json, write_text
from noah.files.jsonl import append_line


def test_the_name_is_taken_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_what_was_there_stays_when_writing_is_interrupted(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(interruption), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise interruption
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_when_nothing_was_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def _sync_as_windows_does(descriptor: int) -> None:
    """Windows syncs what is open for writing, and nothing else."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")


def test_no_file_is_synced_through_a_handle_that_only_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", _sync_as_windows_does)
    with atomic_file(tmp_path / "raw") as temporary:
        temporary.write_bytes(b"\x00\r\n")
    write_text(tmp_path / "deep" / "text", "words")
    write_json(tmp_path / "value.json", {})
    append_line(tmp_path / "lines.jsonl", {"a": 1})
    assert (tmp_path / "raw").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "deep" / "text").read_text() == "words"
    assert (tmp_path / "value.json").read_text() == "{}\n"
    assert (tmp_path / "lines.jsonl").read_text() == '{"a": 1}\n'


def test_the_content_is_synced_before_the_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    seen: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append((os.fstat(descriptor).st_size, path.exists())))
    write_text(path, "whole")
    assert seen == [(5, False)]
