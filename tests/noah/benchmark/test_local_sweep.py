"""What a sweep by several processes says of its cells; tests/end_to_end/test_benchmark.py runs some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from noah.benchmark import local_sweep
from noah.benchmark.cells import Cell, plan_cells
from noah.errors import NoahError
from tests.conftest import TinySettings
from tests.noah.benchmark.tiny_sweep import tiny_sweep
from tests.noah.tiny_run import Recorder


def test_a_failure_is_told_with_its_cell(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = plan_cells(["digits"], ["lora:1", "linear"], [0])
    lines = [f"failed    {cells[0]}: no disk"]

    def outcomes(_: object, groups: Sequence[list[Cell]], *rest: object) -> Iterator[tuple[list[Cell], object]]:
        yield groups[0], ([], lines)
        yield groups[1], NoahError("Processes died.", "Wait.")

    monkeypatch.setattr(local_sweep, "_run", outcomes)
    recorder = Recorder()
    failures = local_sweep.run_sweep_in_processes(tiny_sweep(tiny_settings, tmp_path), cells, tmp_path, recorder, 2)
    assert [failure.cell for failure in failures] == [cells[1]]
    told = [line for line in recorder.said if line.startswith("failed ")]
    assert told == [*lines, f"failed    {cells[1]}: Processes died."]
