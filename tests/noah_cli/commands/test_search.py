"""`noah search`: how options, files and recipes become a run, and how a run goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from noah.api.new_settings import default_recipe
from noah.api.searching import check_unchanged
from noah.errors import SettingsError
from noah.settings.layers import Layer, resolve
from noah.settings.settings import Settings
from tests.commands import Outcome, file_contents, noah, write_settings
from tests.conftest import TinySettings
from tests.finished import NAME, Finished


def layer(key: str, value: Any) -> Layer:
    section, _, name = key.partition(".")
    return Layer(source="--option", values={section: {name: value}} if name else {section: value})


@pytest.mark.parametrize(
    ("layers", "recipe"),
    [
        ([], "auto"),
        ([layer("data.dataset", "digits")], "auto"),
        ([layer("data.dataset", "cifar100")], "vtab"),
        ([layer("data.dataset", "oxford_pet")], "vtab"),
        ([layer("data.dataset", "digits"), layer("data.dataset", "dtd")], "vtab"),
        ([layer("data.dataset", "dtd"), layer("data.dataset", "digits")], "auto"),
        ([layer("data.folder", "photos"), layer("seed", 3)], "auto"),
        ([layer("data.dataset", "food101"), layer("data.shots", 4)], "few_shot"),
        ([layer("data.dataset", "oxford_pet"), layer("data.shots", 1)], "few_shot"),
        ([layer("data.dataset", "ImageNet"), layer("data.shots", 16)], "imagenet"),
        ([layer("data.dataset", "food101")], "auto"),
        ([layer("data.dataset", "dtd"), layer("data.shots", 1)], "vtab"),  # and --shots are refused
        # Mistakes in a settings file are told later, with all the others.
        ([layer("data", 3)], "auto"),
        ([layer("data", ["dataset"])], "auto"),
        ([layer("data", None)], "auto"),
        ([layer("data.dataset", ["dtd"])], "auto"),
    ],
)
def test_the_recipe_where_none_is_named(layers: list[Layer], recipe: str) -> None:
    chosen, reason = default_recipe(layers)
    assert chosen == recipe
    assert "--recipe" in reason


def test_nothing_changed_where_the_same_is_asked_again() -> None:
    settings, _ = resolve([layer("space.lora", [1, 5]), layer("supernet.learning_rate", 1e-3)])
    same = [layer("space.lora", [1, 5]), layer("supernet.learning_rate", 0.001), layer("seed", 0)]
    check_unchanged(settings, same, "shapes/first", "hint")


def test_every_changed_setting_is_told() -> None:
    with pytest.raises(SettingsError) as raised:
        check_unchanged(Settings(), [layer("seed", 3), layer("supernet.epochs", 20)], "shapes/first", "Type this.")
    assert raised.value.problems == [
        "seed: the run shapes/first was started with 0, not 3 (--option)",
        "supernet.epochs: the run shapes/first was started with 500, not 20 (--option)",
    ]
    assert raised.value.hint == "Type this."


def test_an_unknown_setting_is_unknown_on_resume_too() -> None:
    with pytest.raises(SettingsError) as raised:
        check_unchanged(Settings(), [layer("supernet.epoch", 3)], "shapes/first", "")
    assert raised.value.problems == ["supernet.epoch: unknown setting (--option); did you mean supernet.epochs?"]


def test_trackers_may_change() -> None:
    check_unchanged(Settings(), [layer("trackers", ["tensorboard"])], "shapes/first", "hint")


class StopError(Exception):
    """Ends a command where the training would begin."""


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs that a search would begin or go on with; the search itself is left out."""
    runs: list[Any] = []

    def stage(run: Any, *_: object, **__: object) -> None:
        runs.append(run)
        raise StopError

    monkeypatch.setattr("noah.api.searching.search", stage)
    return runs


@pytest.fixture
def working_folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_settings(tmp_path, tiny_settings())
    return tmp_path


def start_search(*arguments: object) -> None:
    with pytest.raises(StopError):
        noah("search", *arguments)


def test_later_sources_override_earlier_ones(working_folder: Path, searched: list[Any]) -> None:
    write_settings(working_folder, {"seed": 1, "budget": {"parameters": 5_000}}, "first.yaml")
    write_settings(working_folder, {"seed": 2, "space": {"lora": [3]}}, "second.yaml")
    start_search(
        *("--recipe", "vtab", "--config", "first.yaml", "--config", "second.yaml"),
        *("--budget", "params=6k", "--set", "seed=4", "--set", "search.generations=7", "--space", "wide"),
    )
    (run,) = searched
    settings, origins = run.description()["settings"], run.description()["origins"]
    assert (settings["seed"], origins["seed"]) == (4, "--set")
    assert (settings["budget"]["parameters"], origins["budget.parameters"]) == (6_000, "--budget")
    assert (settings["search"]["generations"], origins["search.generations"]) == (7, "--set")
    assert (settings["space"]["preset"], origins["space.preset"]) == ("wide", "--space")
    assert (settings["space"]["lora"], origins["space.lora"]) == ([3], "second.yaml")
    assert (settings["supernet"]["epochs"], origins["supernet.epochs"]) == (2, "noah.yaml")
    assert origins["search.gene_probability"] == "recipe vtab"


@pytest.mark.parametrize(
    ("option", "value", "key", "stored"),
    [
        ("--seed", 7, "seed", 7),
        ("--class-weights", "balanced", "data.class_weights", "balanced"),
        ("--data-root", "elsewhere", "data.root", "elsewhere"),
        ("--threads", 2, "hardware.threads", 2),
        ("--precision", "fp32", "hardware.precision", "fp32"),
        ("--device", "cpu", "hardware.device", "cpu"),
        ("--image-size", 48, "backbone.image_size", 48),
        ("--backbone-arch", "test_vit", "backbone.architecture", "test_vit"),
        ("--budget", "none", "budget.parameters", None),
        ("--budget", "macs=1.1x", "budget.macs", "1.1x"),
        ("--budget", "latency=10s", "budget.latency", "10s"),
        ("--placement", "any", "space.placement", "any"),
        ("--placement", "last", "space.placement", "last"),
    ],
)
def test_options_are_settings(
    working_folder: Path, searched: list[Any], option: str, value: object, key: str, stored: object
) -> None:
    start_search(option, value)
    (run,) = searched
    found = run.description()["settings"]
    for part in key.split("."):
        found = found[part]
    assert (found, run.description()["origins"][key]) == (stored, option)


def test_each_budget_replaces_its_own_quantity(working_folder: Path, searched: list[Any]) -> None:
    start_search("--run", "first", "--budget", "macs=1.2x", "--budget", "latency=10s")
    start_search("--run", "second", "--budget", "none", "--budget", "macs=1.2x")
    limits = [{name: fact["limit"] for name, fact in run.description()["budget"].items()} for run in searched]
    assert list(limits[0]) == ["parameters", "macs", "latency"]
    assert (limits[0]["parameters"], limits[0]["latency"]) == (14_000, 10.0)
    assert limits[1] == {"macs": limits[0]["macs"]}


def test_a_run_goes_on_inside_the_budget_of_its_start(
    working_folder: Path, searched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_search("--run", "first", "--budget", "latency=1000x")

    def measure(*_: object) -> None:
        raise AssertionError("timed again")

    monkeypatch.setattr("noah.prepare.run_budget.measure_table", measure)
    start_search("--resume")
    start_search("--resume", "--budget", "latency=1000x")
    outcome = noah("search", "--resume", "--budget", "latency=999x")
    assert "budget.latency: the run shapes/first was started with '1000x', not '999x' (--budget)" in outcome.err
    assert len(searched) == 3


def test_what_is_left_to_noah_is_stored_with_its_reason(working_folder: Path, searched: list[Any]) -> None:
    start_search("--set", "hardware.threads=null", "--device", "auto", "--precision", "auto")
    (run,) = searched
    choices = run.description()["choices"]
    assert [choice["what"] for choice in choices] == ["device", "precision", "threads"]
    assert all(choice["value"] and choice["reason"] for choice in choices)


def test_a_new_run_is_the_latest_and_is_named_by_the_time(working_folder: Path, searched: list[Any]) -> None:
    start_search("--run", "first")
    start_search()
    assert searched[0].name == NAME
    assert searched[1].name.startswith("shapes/20")
    assert (working_folder / "runs" / "latest").read_text() == f"{searched[1].name}\n"


def test_a_run_goes_on_under_its_name_or_as_the_latest(working_folder: Path, searched: list[Any]) -> None:
    start_search("--run", "first")
    start_search("--run", "second")
    start_search("--resume")
    start_search("--resume", "--run", "first")
    start_search("--resume", "--run", "shapes/first")
    assert [run.name for run in searched[2:]] == ["shapes/second", "shapes/first", "shapes/first"]


def test_the_command_of_the_start_with_resume_added_goes_on(working_folder: Path, searched: list[Any]) -> None:
    command = ("--recipe", "vtab", "--seed", 3, "--set", "search.generations=2", "--run", "first")
    start_search(*command)
    start_search(*command, "--resume")
    assert [run.name for run in searched] == ["shapes/first"] * 2


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Outcome:
    def stage(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noah.api.searching.search", stage)
    return noah("search", *arguments)


def test_an_interrupted_search_says_how_to_go_on(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = interrupted(monkeypatch, "--run", "first", "--runs", "all runs")
    assert outcome.code == 130
    assert outcome.err == "\nInterrupted. Go on with: noah search --resume --run shapes/first --runs 'all runs'\n"


def test_ctrl_c_before_there_is_a_run(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noah.prepare.context.load_backbone", load)
    assert noah("search").code == 130
    assert not (working_folder / "runs").exists()


def test_the_search_tells_data_backbone_and_space(project: Finished) -> None:
    words = project.outcomes["search"].words
    assert "recipe auto (planned from your images, your backbone and your machine; --recipe names another)" in words
    assert "data shapes: 3 classes, 36 training and 18 validation images" in words
    assert "32 x 32 px, squash, bicubic" in words
    assert "run runs/shapes/first" in words
    assert "space 1,024,192,512 subnets, " in words
    assert "inside the budget of 14,000 parameters" in words


def test_a_later_run_is_named_in_the_next_command(project: Finished) -> None:
    """The latest run is another one by the time that this search is looked at again."""
    (project.folder / "runs" / "latest").write_text("shapes/other\n")
    outcome = noah("search", "--resume", "--run", "first")
    assert outcome.out.endswith("next      noah retrain --run shapes/first\n")


@pytest.mark.parametrize(("arguments", "named"), [((), ""), (("--run", "first"), " --run shapes/first")])
def test_the_next_line_names_the_run_where_it_was_chosen_by_name(
    project: Finished, arguments: tuple[str, ...], named: str
) -> None:
    assert noah("search", "--resume", *arguments).out.endswith(f"next      noah retrain{named}\n")


def test_a_finished_search_is_left_alone(project: Finished) -> None:
    before = file_contents(project.folder)
    outcome = noah("search", "--resume")
    assert outcome.code == 0
    assert "resume The search is finished; there is nothing left to do." in outcome.words
    assert file_contents(project.folder) == before


def test_changed_images_end_the_run(project: Finished, tmp_path: Path, photo_folder: Path) -> None:
    photos = shutil.copytree(photo_folder, tmp_path / "shapes")
    description = yaml.safe_load((project.run / "run.yaml").read_text())
    description["settings"]["data"]["folder"] = str(photos)
    (project.run / "run.yaml").write_text(yaml.safe_dump(description))
    assert noah("search", "--resume").code == 0  # the same images, as told by names and labels, elsewhere
    next((photos / "train").glob("*/*.png")).unlink()
    for command in ("search --resume", "retrain --restart", "eval --again", "export --format onnx"):
        outcome = noah(*command.split())
        assert outcome.code == 1
        assert outcome.error_lines == [
            "Error: The images of shapes are not those that the run shapes/first was started with (35 training images "
            "instead of 36).",
            "Restore them, start a new run with `noah search`, or go on with more images: noah retrain --from "
            "shapes/first --data FOLDER",
        ]
    assert json.loads((project.run / "retrain" / "model.json").read_text())  # nothing was thrown away for it


@pytest.mark.parametrize("text", ["[]", "null", "7", "{}", '{"stopped": null}', "{"])
def test_a_finished_search_whose_result_is_damaged(project: Finished, text: str) -> None:
    best = project.run / "search" / "best.json"
    whole = best.read_bytes()
    best.write_text(text)
    outcome = noah("search", "--resume")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert "search/best.json is damaged: " in problem
    assert hint.startswith("Remove it and type: noah search --resume --run shapes/first.")
    best.unlink()
    assert noah("search", "--resume", "--run", "shapes/first").code == 0
    assert best.read_bytes() == whole
