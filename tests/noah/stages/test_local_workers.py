"""Several processes of one machine, which noah starts: the search of one process, to the byte, and none is left."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from noah.runs.folder import Run
from noah.stages.search_stage import search
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.slow

CHANGES = {"search.generations": 1, "search.population": 20, "search.top": 4, "hardware.threads": 1}


def test_the_search_of_one_process(tmp_path: Path, tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings(CHANGES))
    run = start_run(tmp_path, materials, "single")
    search(run, materials, Recorder())
    expected = content(run)
    shared = Run(tmp_path / "shared")
    shutil.copytree(run.folder, shared.folder)
    shutil.rmtree(shared.path("search"))
    recorder = Recorder()
    search(shared, materials, recorder, workers=2)
    assert content(shared) == expected
    assert "workers   2 processes with 1 thread (as asked for)" in recorder.said
    assert not [line for line in recorder.said if line.startswith("note")]
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_them(tmp_path: Path, tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings(CHANGES))
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({"searching subnets": 0}), workers=3)
    assert multiprocessing.active_children() == []
