"""Seals: what a changed file, a growing log and a stage that begins again do to them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import RunError
from noah.runs.folder import Run
from noah.runs.seals import (
    SEARCH,
    break_seal,
    hash_file,
    is_sealed,
    read_seal,
    result_place,
    seal_path,
    seal_result,
    seal_search,
    seals,
    set_seal,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "x" / "first")
    for name in ("search/best.json", "search/journal.log", "search/rerank/3/checkpoint.safetensors", "log.jsonl"):
        run.path(name).parent.mkdir(parents=True, exist_ok=True)
        run.path(name).write_text(f"content of {name}\n")
    return run


@given(st.binary(max_size=100), st.integers(0, 120))
def test_the_hash_is_that_of_the_first_bytes(content: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        assert hash_file(path) == hashlib.sha256(content).hexdigest()
        assert hash_file(path, size) == hashlib.sha256(content[:size]).hexdigest()


def test_a_seal_holds_what_is_there(run: Run) -> None:
    seal_search(run)
    files = read_seal(run, SEARCH)
    assert [file.path for file in files] == [
        "log.jsonl",
        "search/best.json",
        "search/journal.log",
        "search/rerank/3/checkpoint.safetensors",
    ]
    assert {file.compare(run) for file in files} == {"whole"}
    assert seals(run) == [SEARCH]


def test_every_change_is_seen_but_that_of_a_log_that_goes_on(run: Run) -> None:
    seal_search(run)
    log, best, journal, checkpoint = read_seal(run, SEARCH)
    for file in (log, best, journal, checkpoint):
        path = run.path(file.path)
        content = path.read_bytes()
        path.write_bytes(content + b"more\n")
        assert file.compare(run) == ("whole" if file in (log, journal) else "changed")
        path.write_bytes(b"C" + content[1:])
        assert file.compare(run) == "changed"
        path.write_bytes(content[:-1])
        assert file.compare(run) == "changed"
        path.unlink()
        assert file.compare(run) == "missing"
        path.mkdir()
        assert file.compare(run) == "missing"
        path.rmdir()
        path.write_bytes(content)
        assert file.compare(run) == "whole"


def test_a_seal_that_is_broken_is_gone(run: Run) -> None:
    break_seal(run, SEARCH)  # there is none yet
    seal_search(run)
    assert is_sealed(run, SEARCH)
    break_seal(run, SEARCH)
    assert not is_sealed(run, SEARCH)
    assert seals(run) == []


def test_a_process_that_only_reads_neither_sets_nor_breaks(run: Run) -> None:
    reader = replace(run, writes=False)
    seal_search(reader)
    assert not is_sealed(run, SEARCH)
    seal_search(run)
    break_seal(reader, SEARCH)
    assert is_sealed(run, SEARCH)


def test_results_have_seals_of_their_own_and_keep_dots(run: Run) -> None:
    for parts in (("test.json",), ("artifact", "trt-fp16.model.onnx.json"), ("on", "imagenet-a.json")):
        for folder in ("eval", "eval/predictions"):
            run.path(folder, *parts).parent.mkdir(parents=True, exist_ok=True)
            run.path(folder, *parts).write_text("{}")
        seal_result(run, *parts)
        assert {file.path for file in read_seal(run, result_place(*parts))} == {
            f"eval/{'/'.join(parts)}",
            f"eval/predictions/{'/'.join(parts)}",
        }
    assert seals(run) == [("eval", "artifact", "trt-fp16.model.onnx"), ("eval", "on", "imagenet-a"), ("eval", "test")]


@pytest.mark.skipif(os.name == "nt", reason="no name of a file holds these signs there")
@pytest.mark.parametrize("name", ["photos 12:30", "C:x", "a\\b", "..\\x", "\\", "..x"])
def test_a_result_may_have_any_name_that_a_folder_has(run: Run, name: str) -> None:
    parts = ("on", f"{name}.json")
    run.write_json({}, "eval", *parts)
    seal_result(run, *parts)
    (file,) = read_seal(run, result_place(*parts))
    assert (file.path, file.compare(run)) == (f"eval/on/{name}.json", "whole")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "..\\x", "C:x", "C:\\x", "\\x", ".."])
def test_a_seal_names_no_file_elsewhere(run: Run, name: str) -> None:
    set_seal(run, SEARCH, [])
    seal_path(run, SEARCH).write_text(json.dumps({"files": {name: {"sha256": "0" * 64, "bytes": 1}}}))
    with pytest.raises(RunError, match="names a file outside the run folder"):
        read_seal(run, SEARCH)
