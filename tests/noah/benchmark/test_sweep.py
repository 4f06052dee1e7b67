"""A sweep of real runs of seconds: it resumes, is not stopped by failures, and never mixes settings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from noah.benchmark.cells import Cell, plan_cells
from noah.benchmark.rows import failure_path, read_rows, row_path
from noah.benchmark.suites import Suite, Task
from noah.benchmark.sweep import SWEEP_FILE, cell_layers, run_cell, run_sweep
from noah.errors import RunError, SettingsError
from noah.layers import Layer, resolve
from noah.progress import Silent
from noah.runs import Run
from noah.subnet import Subnet
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

SUITE = Suite(
    name="tiny",
    recipe="quick",
    methods=("noah", "linear"),
    tasks=(
        Task("digits", "real", settings={"backbone.image_size": 16}),
        Task("svhn", "real"),
        Task("rendered_dsprites_loc", "rendered"),
    ),
)


@pytest.fixture
def layers(tiny_settings: TinySettings, tmp_path: Path) -> list[Layer]:
    changes = {
        "data": {"root": str(tmp_path / "data")},  # nothing lies there
        "supernet.batch_size": 100,
        "retrain.batch_size": 100,
        "search.generations": 0,
    }
    return [Layer(source="test", values=tiny_settings(changes))]


def stable(folder: Path) -> dict[str, Any]:
    """The rows without times and what else differs from one undisturbed sweep to the next."""
    return {
        row.cell.file_name: {k: v for k, v in row.to_json().items() if k not in ("seconds", "finished", "resumed")}
        for row in read_rows(folder)
    }


def test_a_sweep_gives_a_row_for_each_cell_and_does_none_twice(layers: list[Layer], tmp_path: Path) -> None:
    cells = plan_cells(["digits", "rendered_dsprites_loc"], ["noah", "lora:2"], [3])
    seen: list[int] = []
    failures = run_sweep(
        SUITE, cells, layers, tmp_path / "sweep", Silent(), lambda: seen.append(len(read_rows(tmp_path / "sweep")))
    )
    assert failures == []
    assert seen == [1, 2, 3, 4]
    rows = {row.cell: row for row in read_rows(tmp_path / "sweep")}
    assert set(rows) == set(cells)
    lora = rows[Cell("digits", "lora:2", 3)]
    assert (lora.total, lora.parameters) == (797, Subnet.uniform(6, lora=2).parameter_count(64))
    assert Subnet.from_json(lora.details["subnet"]) == Subnet.uniform(6, lora=2)
    assert set(lora.details["seconds"]) == {"retrain", "test"}
    assert set(rows[cells[0]].details["seconds"]) == {"search", "retrain", "test"}
    assert rows[cells[0]].parameters <= 14_000  # the budget
    assert rows[Cell("rendered_dsprites_loc", "lora:2", 3)].total == 1000

    run = Run(tmp_path / "sweep" / "runs" / "digits" / "digits-lora-2-seed3")
    settings = run.settings()
    assert (settings.seed, settings.data.dataset, settings.backbone.image_size) == (3, "digits", 16)
    assert run.description()["origins"]["backbone.image_size"] == "suite tiny"
    assert run.read_json("eval", "test.json")["correct"] == lora.correct

    recorder = Recorder()
    assert run_sweep(SUITE, cells, layers, tmp_path / "sweep", recorder) == []
    assert recorder.said == []  # nothing was left to do


@pytest.mark.parametrize("stop", [{"training the supernet": 1}, {"searching subnets": 2}, {"retraining the winner": 1}])
def test_a_stopped_sweep_goes_on_to_the_same_rows(layers: list[Layer], tmp_path: Path, stop: dict[str, int]) -> None:
    cells = plan_cells(["digits"], ["noah"], [0])
    with pytest.raises(KeyboardInterrupt):
        run_sweep(SUITE, cells, layers, tmp_path / "stopped", Recorder(stop))
    assert read_rows(tmp_path / "stopped") == []
    for folder in ("stopped", "undisturbed"):
        assert run_sweep(SUITE, cells, layers, tmp_path / folder, Silent()) == []
    assert stable(tmp_path / "stopped") == stable(tmp_path / "undisturbed") != {}
    assert [row.details["resumed"] for row in read_rows(tmp_path / "stopped")] == [True]


def test_a_failing_task_does_not_stop_the_others(layers: list[Layer], tmp_path: Path) -> None:
    cells = plan_cells(["svhn", "digits"], ["lora:1", "linear"], [0])
    recorder = Recorder()
    failures = run_sweep(SUITE, cells, layers, tmp_path, recorder)
    assert [failure.cell for failure in failures] == list(cells[:2])
    assert all("No VTAB-1k folder svhn" in failure.problem for failure in failures)
    assert sum(line.startswith("failed ") for line in recorder.said) == 1  # missing data is looked for once
    assert [row.cell for row in read_rows(tmp_path)] == [cells[3], cells[2]]
    assert "DatasetNotFoundError" in failure_path(tmp_path, cells[0]).read_text()


def test_a_failure_of_the_program_itself_does_not_stop_the_others(
    layers: list[Layer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noah.benchmark import sweep

    real = sweep.retrain

    def broken(run: Run, *rest: Any) -> Any:
        if "lora" in run.folder.name:
            raise ZeroDivisionError("here")
        return real(run, *rest)

    cells = plan_cells(["digits"], ["lora:1", "linear"], [0])
    monkeypatch.setattr(sweep, "retrain", broken)
    failures = run_sweep(SUITE, cells, layers, tmp_path, Silent())
    assert [(failure.cell, failure.problem) for failure in failures] == [(cells[0], "ZeroDivisionError: here")]
    assert "in broken" in failure_path(tmp_path, cells[0]).read_text()
    monkeypatch.undo()
    assert run_sweep(SUITE, cells, layers, tmp_path, Silent()) == []  # what failed is tried again
    assert not failure_path(tmp_path, cells[0]).exists()
    assert {row.cell for row in read_rows(tmp_path)} == set(cells)


def test_a_cell_that_another_process_works_on_is_left_to_it(layers: list[Layer], tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    with pytest.raises(KeyboardInterrupt):
        run_sweep(SUITE, [cell], layers, tmp_path, Recorder({"training the subnet": 1}))
    run = Run(tmp_path / "runs" / "digits" / cell.file_name)
    recorder = Recorder()
    with run.lock():
        assert run_sweep(SUITE, [cell], layers, tmp_path, recorder) == []
    assert not row_path(tmp_path, cell).exists()
    assert any("Another process is working on it" in line for line in recorder.said)


def test_other_settings_need_another_folder(layers: list[Layer], tmp_path: Path) -> None:
    run_sweep(SUITE, [], layers, tmp_path, Silent())
    changed = [
        *layers,
        Layer(source="--set", values={"retrain": {"epochs": 7}, "hardware": {"threads": 3}, "data": {"root": "x"}}),
    ]
    with pytest.raises(SettingsError) as raised:
        run_sweep(SUITE, [], changed, tmp_path, Silent())
    assert raised.value.problems == [f"retrain.epochs: the sweep in {tmp_path} has 2, not 7"]
    assert "--out" in raised.value.hint
    with pytest.raises(SettingsError, match="holds rows of the suite tiny"):
        run_sweep(dataclasses.replace(SUITE, name="other"), [], layers, tmp_path, Silent())


def test_other_settings_need_another_run(layers: list[Layer], tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    run_cell(SUITE, cell, layers, tmp_path, Silent())
    changed = [*layers, Layer(source="--set", values={"retrain": {"epochs": 3}})]
    with pytest.raises(SettingsError, match=r"retrain\.epochs: the run .* has 2, not 3"):
        run_cell(SUITE, cell, changed, tmp_path, Silent())


def test_wrong_settings_are_told_before_anything_begins(layers: list[Layer], tmp_path: Path) -> None:
    wrong = [*layers, Layer(source="--set", values={"retrain": {"epoch": 3}})]
    with pytest.raises(SettingsError, match=r"did you mean retrain\.epochs"):
        run_sweep(SUITE, plan_cells(["digits"], ["linear"], [0]), wrong, tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "- 1\n", "suite: tiny\n", "suite: [\n", "suite: tiny\nsettings: {x: 1}\n"])
def test_a_damaged_sweep_file_is_told(layers: list[Layer], tmp_path: Path, content: str) -> None:
    (tmp_path / SWEEP_FILE).write_text(content)
    with pytest.raises((RunError, SettingsError)):
        run_sweep(SUITE, [], layers, tmp_path, Silent())


def test_what_a_cell_sets(layers: list[Layer]) -> None:
    settings, origins = resolve([*layers, *cell_layers(SUITE, Cell("digits", "noah", 5))])
    assert (settings.data.dataset, settings.seed, settings.backbone.image_size) == ("digits", 5, 16)
    assert origins["seed"] == "--seeds"


def test_the_sweep_file_is_yaml_that_a_person_reads(layers: list[Layer], tmp_path: Path) -> None:
    run_sweep(SUITE, [], layers, tmp_path, Silent())
    stored = yaml.safe_load((tmp_path / SWEEP_FILE).read_text())
    assert stored["suite"] == "tiny"
    assert stored["settings"]["retrain"]["batch_size"] == 100
    assert json.loads(json.dumps(stored)) == stored
