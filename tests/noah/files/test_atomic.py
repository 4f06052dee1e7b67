from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from noah.errors import RunError
from noah.files.atomic import atomic_file, write_json, write_text
from noah.files.bounded import LARGEST_JSON, read_bounded
from noah.files.jsonl import append_line, read_lines


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


def test_a_name_that_is_no_utf_8_comes_back_from_json_as_it_was(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "value.json", {name: name})
    assert json.loads((tmp_path / "value.json").read_text(encoding="utf-8")) == {name: name}
    append_line(tmp_path / "lines.jsonl", {"name": name})
    assert read_lines(tmp_path / "lines.jsonl") == [{"name": name}]
    write_text(tmp_path / "text", name)
    assert (tmp_path / "text").read_text(encoding="utf-8") == r"caf\udce9.jpg"


def test_no_json_is_written_that_would_be_too_large_to_read(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, "old")
    write_json(path, "x" * (LARGEST_JSON - 3))
    assert len(read_bounded(path, LARGEST_JSON)) == LARGEST_JSON
    with pytest.raises(RunError, match=r"value.json would have 33,554,433 bytes, and 33,554,432 are the most"):
        write_json(path, "x" * (LARGEST_JSON - 2))
    assert path.stat().st_size == LARGEST_JSON


def test_no_line_is_appended_behind_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append_line(path, {"a": "x" * (LARGEST_JSON - 20)})
    append_line(path, {})
    before = path.stat().st_size
    with pytest.raises(RunError, match=r"lines.jsonl would have .* are the most"):
        append_line(path, {"b": "more than is left"})
    assert path.stat().st_size == before
    assert len(read_lines(path)) == 2
