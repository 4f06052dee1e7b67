"""A sweep of real runs of seconds: it resumes, is not stopped by failures, and never mixes settings."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from noah.benchmark.cells import Cell, parse_methods, plan_cells
from noah.benchmark.rows import failure_path, read_rows, row_path
from noah.benchmark.sweep import run_cell, run_sweep
from noah.benchmark.sweep_settings import SWEEP_FILE, SweepSettings, begin_sweep
from noah.errors import RunError, SettingsError
from noah.progress import Silent
from noah.runs.folder import Run
from noah.space.subnet import Subnet
from tests.conftest import TinySettings
from tests.noah.benchmark.tiny_sweep import SUITE, changed, planning, stable, tiny_sweep
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sweep(tiny_settings: TinySettings, tmp_path: Path) -> SweepSettings:
    return tiny_sweep(tiny_settings, tmp_path)


def test_a_sweep_gives_a_row_for_each_cell_and_does_none_twice(sweep: SweepSettings, tmp_path: Path) -> None:
    cells = plan_cells(["digits", "rendered_dsprites_loc"], ["noah", "lora:2"], [3])
    seen: list[int] = []
    failures = run_sweep(
        sweep, cells, tmp_path / "sweep", Silent(), lambda: seen.append(len(read_rows(tmp_path / "sweep")))
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
    assert run_sweep(sweep, cells, tmp_path / "sweep", recorder) == []
    assert recorder.said == []  # nothing was left to do


def test_a_few_images_of_each_class(sweep: SweepSettings, tmp_path: Path) -> None:
    (cell,) = plan_cells(["rendered_dsprites_loc-2shot"], ["linear"], [4])
    assert run_sweep(sweep, [cell], tmp_path, Silent()) == []
    (row,) = read_rows(tmp_path)
    assert (row.cell, row.total, row.details["training_images"]) == (cell, 1000, 2 * 16)
    settings = Run(tmp_path / "runs" / "rendered_dsprites_loc-2shot" / cell.file_name).settings()
    assert (settings.data.dataset, settings.data.shots, settings.seed) == ("rendered_dsprites_loc", 2, 4)


def test_a_shift_is_a_test_of_what_its_source_trained(sweep: SweepSettings, tmp_path: Path) -> None:
    source, target = plan_cells(["rendered_dsprites_loc", "rendered_dsprites_loc_noise"], ["bias"], [0])
    assert run_sweep(sweep, [source, target], tmp_path, Silent()) == []
    trained, shifted = (next(row for row in read_rows(tmp_path) if row.cell == cell) for cell in (source, target))
    assert shifted.details["trained_on"] == source.task and set(shifted.details["seconds"]) == {"shift"}
    assert (shifted.total, shifted.parameters, shifted.details["resumed"]) == (1000, trained.parameters, False)
    (run,) = (tmp_path / "runs").glob("*/*")
    assert run.name == source.file_name
    assert Run(run).read_json("eval", "test.json")["correct"] == trained.correct
    assert Run(run).read_json("eval", "on", f"{target.task}.json")["correct"] == shifted.correct

    row_path(tmp_path, target).unlink()  # as by a machine that died between the end of the test and its row
    assert run_sweep(sweep, [source, target], tmp_path, Silent()) == []
    kept = next(row for row in read_rows(tmp_path) if row.cell == target)
    assert kept.correct == shifted.correct and kept.details["seconds"] == {}  # not tested again

    before = row_path(tmp_path, source).read_bytes()
    row_path(tmp_path, target).unlink()
    shutil.rmtree(run.parent)  # as in a folder whose rows alone were kept
    recorder = Recorder()
    assert run_sweep(sweep, [source, target], tmp_path, recorder) == []
    assert any("because its run is not in" in line for line in recorder.said)
    assert row_path(tmp_path, source).read_bytes() == before
    (again,) = (row for row in read_rows(tmp_path) if row.cell == target)
    assert again.correct == shifted.correct


def test_cells_that_plan_for_themselves_are_resumed_and_shifted(sweep: SweepSettings, tmp_path: Path) -> None:
    sweep = planning(sweep)
    source, target = plan_cells(["rendered_dsprites_loc", "rendered_dsprites_loc_noise"], ["bias"], [0])
    assert run_sweep(sweep, [source], tmp_path, Silent()) == []
    assert run_sweep(sweep, [target], tmp_path, Silent()) == []
    (run,) = (tmp_path / "runs").glob("*/*")
    assert Run(run).settings().retrain.learning_rate == 2e-3  # not the default, which the sweep has
    assert {row.cell for row in read_rows(tmp_path)} == {source, target}
    with pytest.raises(SettingsError, match=r"retrain\.learning_rate: the run .* has 0\.002, not 0\.5"):
        run_cell(changed(sweep, {"retrain": {"learning_rate": 0.5}}), source, tmp_path / "runs", Silent())


def test_the_suites_schedule_gives_way_to_a_recipe_that_plans(sweep: SweepSettings) -> None:
    assert sweep.of_task("rendered_dsprites_loc-2shot")[0].retrain.warmup_epochs == 1
    settings, origins = planning(sweep).of_task("rendered_dsprites_loc-2shot")
    assert (settings.retrain.warmup_epochs, origins["retrain.warmup_epochs"]) == (0, "recipe auto")
    assert settings.data.shots == 2


def test_the_methods_have_the_parameters_that_a_planning_recipe_allows(sweep: SweepSettings) -> None:
    assert "lora_proj:13" in planning(sweep).methods()  # 10,000, the least that is planned
    assert "lora_proj:9" in changed(planning(sweep), {"budget": {"parameters": 7_000}}).methods()


def test_a_shift_fails_with_the_training_of_its_source(
    sweep: SweepSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def broken(run: Run, *_: Any) -> Any:
        calls.append(run.folder.name)
        raise ZeroDivisionError("here")

    monkeypatch.setattr("noah.benchmark.sweep.retrain", broken)
    cells = plan_cells(["rendered_dsprites_loc", "rendered_dsprites_loc_noise"], ["linear"], [0])
    failures = run_sweep(sweep, cells, tmp_path, Silent())
    assert [(failure.cell, failure.problem) for failure in failures] == [
        (cell, "ZeroDivisionError: here") for cell in cells
    ]
    assert calls == [cells[0].file_name]
    assert all(failure_path(tmp_path, cell).exists() for cell in cells)


def test_the_methods_are_every_kind_at_the_budgets_parameters(sweep: SweepSettings) -> None:
    assert sweep.methods() == (
        *("noah", "lora_proj:18", "lora_fc1:9", "lora_fc2:9", "bias", "scale_shift", "linear_adapter_attention:18"),
        *("linear_adapter_mlp:18", "adapter_plus:17", "linear"),
    )
    assert sweep.methods() == parse_methods(",".join(sweep.methods()), published=False)
    assert changed(sweep, {"budget": {"parameters": None, "macs": "1.1x"}}).methods() == SUITE.methods
    assert "lora_proj:9" in changed(sweep, {"budget": {"parameters": 7_000}}).methods()
    plain = dataclasses.replace(sweep, suite=dataclasses.replace(SUITE, compares_kinds=False))
    assert plain.methods() == SUITE.methods


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param({"training the supernet": 1}, marks=pytest.mark.slow),
        {"searching subnets": 2},
        pytest.param({"retraining the winner": 1}, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_sweep_goes_on_to_the_same_rows(sweep: SweepSettings, tmp_path: Path, stop: dict[str, int]) -> None:
    cells = plan_cells(["digits"], ["noah"], [0])
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, cells, tmp_path / "stopped", Recorder(stop))
    assert read_rows(tmp_path / "stopped") == []
    for folder in ("stopped", "undisturbed"):
        assert run_sweep(sweep, cells, tmp_path / folder, Silent()) == []
    assert stable(tmp_path / "stopped") == stable(tmp_path / "undisturbed") != {}
    assert [row.details["resumed"] for row in read_rows(tmp_path / "stopped")] == [True]


def test_a_failing_task_does_not_stop_the_others(sweep: SweepSettings, tmp_path: Path) -> None:
    cells = plan_cells(["svhn", "digits"], ["lora:1", "linear"], [0])
    recorder = Recorder()
    failures = run_sweep(sweep, cells, tmp_path, recorder)
    assert [failure.cell for failure in failures] == list(cells[:2])
    assert all("No VTAB-1k folder svhn" in failure.problem for failure in failures)
    (told,) = [line for line in recorder.said if line.startswith("failed ")]  # missing data is looked for once
    assert told == f"failed    {cells[0]}: {failures[0].problem}"
    assert all("train800.txt" in failure.hint for failure in failures)
    assert all(failure_path(tmp_path, cell).exists() for cell in cells[:2])
    assert [row.cell for row in read_rows(tmp_path)] == [cells[3], cells[2]]
    assert "DatasetNotFoundError" in failure_path(tmp_path, cells[0]).read_text()


def test_a_failure_of_the_program_itself_does_not_stop_the_others(
    sweep: SweepSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noah.benchmark import sweep as module

    real = module.retrain

    def broken(run: Run, *rest: Any) -> Any:
        if "lora" in run.folder.name:
            raise ZeroDivisionError("here")
        return real(run, *rest)

    cells = plan_cells(["digits"], ["lora:1", "linear"], [0])
    monkeypatch.setattr(module, "retrain", broken)
    failures = run_sweep(sweep, cells, tmp_path, Silent())
    assert [(failure.cell, failure.problem) for failure in failures] == [(cells[0], "ZeroDivisionError: here")]
    assert "in broken" in failure_path(tmp_path, cells[0]).read_text()
    monkeypatch.undo()
    assert run_sweep(sweep, cells, tmp_path, Silent()) == []  # what failed is tried again
    assert not failure_path(tmp_path, cells[0]).exists()
    assert {row.cell for row in read_rows(tmp_path)} == set(cells)


def test_a_cell_that_another_process_works_on_is_left_to_it(sweep: SweepSettings, tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, [cell], tmp_path, Recorder({"training the subnet": 1}))
    run = Run(tmp_path / "runs" / "digits" / cell.file_name)
    recorder = Recorder()
    with run.lock():
        assert run_sweep(sweep, [cell], tmp_path, recorder) == []
    assert not row_path(tmp_path, cell).exists()
    assert any("Another process is working on it" in line for line in recorder.said)


def test_other_settings_need_another_folder(sweep: SweepSettings, tmp_path: Path) -> None:
    run_sweep(sweep, [], tmp_path, Silent())
    machine = {"hardware": {"threads": 3}, "data": {"root": "x"}}
    run_sweep(changed(sweep, machine), [], tmp_path, Silent())
    with pytest.raises(SettingsError) as raised:
        run_sweep(changed(sweep, {"retrain": {"epochs": 7}, **machine}), [], tmp_path, Silent())
    assert raised.value.problems == [f"retrain.epochs: the sweep in {tmp_path} has 2, not 7"]
    assert "--out" in raised.value.hint
    with pytest.raises(SettingsError, match=r"precision: the sweep in .* has 'fp32', not 'bf16'"):
        run_sweep(changed(sweep, {"hardware": {"precision": "bf16"}}), [], tmp_path, Silent())
    other = dataclasses.replace(sweep, suite=dataclasses.replace(SUITE, name="other"))
    with pytest.raises(SettingsError, match="holds rows of the suite tiny"):
        run_sweep(other, [], tmp_path, Silent())


def test_settings_that_an_older_noah_did_not_have_are_told(sweep: SweepSettings, tmp_path: Path) -> None:
    run_sweep(sweep, [], tmp_path, Silent())
    stored = yaml.safe_load((tmp_path / SWEEP_FILE).read_text())
    for values in stored["tasks"].values():
        del values["search"]["racing"]
    (tmp_path / SWEEP_FILE).write_text(yaml.safe_dump(stored))
    recorder = Recorder()
    run_sweep(sweep, [], tmp_path, recorder)
    assert recorder.said == [
        f"note      The sweep in {tmp_path} was started by a noah that did not have search.racing; "
        "their values are those of this one."
    ]


def test_tasks_that_an_older_noah_did_not_have_are_added(sweep: SweepSettings, tmp_path: Path) -> None:
    run_sweep(sweep, [], tmp_path, Silent())
    whole = (tmp_path / SWEEP_FILE).read_bytes()
    stored = yaml.safe_load(whole)
    del stored["tasks"]["rendered_dsprites_loc-2shot"]
    (tmp_path / SWEEP_FILE).write_text(yaml.safe_dump(stored))
    before = (tmp_path / SWEEP_FILE).read_bytes()
    recorder = Recorder()
    begin_sweep(sweep, plan_cells(["digits", "rendered_dsprites_loc_noise"], ["noah"], [0]), tmp_path, recorder)
    assert recorder.said == [] and (tmp_path / SWEEP_FILE).read_bytes() == before  # until they are asked for
    begin_sweep(sweep, plan_cells(["rendered_dsprites_loc-2shot"], ["noah", "bias"], [0, 1]), tmp_path, recorder)
    assert recorder.said == [f"note      The sweep in {tmp_path} had no rendered_dsprites_loc-2shot yet; now it has."]
    assert yaml.safe_load((tmp_path / SWEEP_FILE).read_text()) == yaml.safe_load(whole)
    with pytest.raises(SettingsError, match=r"retrain\.epochs"):
        run_sweep(changed(sweep, {"retrain": {"epochs": 7}}), [], tmp_path, Silent())


def test_other_settings_need_another_run(sweep: SweepSettings, tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    run_cell(sweep, cell, tmp_path, Silent())
    with pytest.raises(SettingsError, match=r"retrain\.epochs: the run .* has 2, not 3"):
        run_cell(changed(sweep, {"retrain": {"epochs": 3}}), cell, tmp_path, Silent())


@pytest.mark.slow
def test_a_cell_goes_on_with_the_settings_of_this_machine(sweep: SweepSettings, tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, [cell], tmp_path, Recorder({"training the subnet": 1}))
    assert run_sweep(changed(sweep, {"hardware": {"threads": 2}}), [cell], tmp_path, Silent()) == []
    (row,) = read_rows(tmp_path)
    assert row.details["hardware"]["threads"] == 2


def test_a_persons_changes_come_over_the_tasks_settings(sweep: SweepSettings) -> None:
    settings, origins = changed(sweep, {"backbone": {"image_size": 48}}).of_task("digits")
    assert (settings.backbone.image_size, origins["backbone.image_size"]) == (48, "--set")


def test_what_the_sweep_sets_itself_is_refused(sweep: SweepSettings, tmp_path: Path) -> None:
    own = changed(sweep, {"seed": 3, "data": {"dataset": "dtd", "folder": "photos", "shots": None}})
    with pytest.raises(SettingsError) as raised:
        run_sweep(own, [], tmp_path, Silent())
    assert raised.value.problems == [
        "seed: --seeds sets it (--set)",
        "data.dataset: --tasks sets it (--set)",
        "data.folder: a sweep is over the tasks of its suite (--set)",
    ]


def test_two_sweeps_that_start_together_share_the_cells(sweep: SweepSettings, tmp_path: Path) -> None:
    """The second comes to a cell while the first is loading its data, before there is a run folder."""
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    second: list[Any] = []

    class Meanwhile(Recorder):
        def say(self, text: str) -> None:
            if text.startswith("device") or "10 classes" in text:
                assert not list(tmp_path.glob("runs/*/*"))
                second.append(run_sweep(sweep, [cell], tmp_path, Silent()))

    assert run_sweep(sweep, [cell], tmp_path, Meanwhile()) == []
    assert second and not any(second)  # no failures
    assert [row.details["resumed"] for row in read_rows(tmp_path)] == [False]


def test_wrong_settings_are_told_before_anything_begins(sweep: SweepSettings, tmp_path: Path) -> None:
    wrong = changed(sweep, {"retrain": {"epoch": 3}})
    with pytest.raises(SettingsError, match=r"did you mean retrain\.epochs"):
        run_sweep(wrong, plan_cells(["digits"], ["linear"], [0]), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "- 1\n", "suite: tiny\n", "suite: [\n", "suite: tiny\ntasks: 3\n"])
def test_a_damaged_sweep_file_is_told(sweep: SweepSettings, tmp_path: Path, content: str) -> None:
    (tmp_path / SWEEP_FILE).write_text(content)
    with pytest.raises((RunError, SettingsError)):
        run_sweep(sweep, [], tmp_path, Silent())


def test_what_a_cell_sets(sweep: SweepSettings) -> None:
    settings, origins = sweep.of_cell(Cell("digits", "noah", 5))
    assert (settings.data.dataset, settings.seed, settings.backbone.image_size) == ("digits", 5, 16)
    assert (origins["seed"], origins["backbone.image_size"]) == ("--seeds", "suite tiny")


def test_the_sweep_file_is_yaml_that_a_person_reads(sweep: SweepSettings, tmp_path: Path) -> None:
    run_sweep(sweep, [], tmp_path, Silent())
    stored = yaml.safe_load((tmp_path / SWEEP_FILE).read_text())
    assert stored["suite"] == "tiny"
    assert (stored["precision"], stored["tasks"]["digits"]["retrain"]["batch_size"]) == ("fp32", 100)
    assert stored["tasks"]["digits"]["backbone"]["image_size"] == 16
    assert json.loads(json.dumps(stored)) == stored
