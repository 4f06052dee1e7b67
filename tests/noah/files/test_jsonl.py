"""Files of JSON lines come back as written, whatever tore their last line."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import RunError
from noah.files.jsonl import append_line, read_lines

records = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=9), max_size=3),
    max_size=5,
)


@given(records)
def test_lines_come_back_as_written(values: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deep" / "lines.jsonl"
        assert read_lines(path) == []
        for value in values:
            append_line(path, value)
        assert read_lines(path) == values


def test_a_torn_last_line_is_cut_off_by_the_next_append_wherever_it_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    values = [{"index": 0, "name": "café"}, {"index": 1, "name": "鳥\n\r"}]
    for value in values:
        append_line(path, value)
    content = path.read_bytes()
    whole = content.index(b"\n") + 1
    for size in range(whole, len(content)):
        path.write_bytes(content[:size])
        assert read_lines(path) == values[:1]
        append_line(path, values[1])
        assert path.read_bytes() == content


def test_reading_changes_nothing_also_where_the_last_line_is_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"index": 0}\n{"ind')
    before = path.stat()
    monkeypatch.setattr(Path, "open", _refuse)  # as a folder does that may only be read
    assert read_lines(path) == [{"index": 0}]
    assert read_lines(tmp_path / "none.jsonl") == []
    monkeypatch.undo()
    assert path.read_bytes() == b'{"index": 0}\n{"ind'
    after = path.stat()  # all but the time at which it was read
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)


def test_what_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"{tmp_path} cannot be read: "):
        read_lines(tmp_path)


def _refuse(path: Path, *_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize("damage", [b'{"index": \n', b"\n", b"\xff\n", b"{}{}\n", b"[]\n", b"3\n"])
def test_a_damaged_line_before_the_last_is_an_error(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"index": 0}\n' + damage + b'{"index": 2}\n')
    with pytest.raises(RunError, match=r"lines.jsonl is damaged in line 2"):
        read_lines(path)


def test_a_line_is_one_write_that_ends_with_its_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / "lines.jsonl"
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    append_line(path, {"a": "b\nc"})
    assert synced == [json.dumps({"a": "b\nc"}).encode() + b"\n"]
