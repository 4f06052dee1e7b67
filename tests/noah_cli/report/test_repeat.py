"""The commands on the page repeat the run."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from export.formats.runnable import Runnable
from noah.api.keywords import run_layers
from noah.benchmark.cells import SEARCHED, Cell
from noah.benchmark.suites import SUITES
from noah.benchmark.sweep_settings import SweepSettings
from noah.evaluation.significance import Proportion
from noah.runs.folder import Run
from noah.settings.layers import LIMITED, PLANNED, Layer, assignment_layer, flatten, recipe_layer, resolve
from noah.settings.option_layers import option_layers
from noah_cli.app import app
from noah_cli.report.artifacts import Artifact, Exported
from noah_cli.report.reading import Missing
from noah_cli.report.repeat import SINGLE_OPTIONS, gather_repeat
from tests.commands import noah, noah_line, write_settings
from tests.conftest import TinySettings
from tests.export.tiny_artifact import make_manifest
from tests.noah.settings.test_options import NO_SETTING
from tests.noah_cli.report.test_export_options import quantized

NONE = Missing("Nothing.")


def commands_of(page: str) -> list[str]:
    """The lines of the section that says how to repeat the run."""
    section = page[page.index('<section id="repeat">') : page.index('<section id="words">')]
    return [
        line
        for block in re.findall(r"<code>(.*?)</code>", section, flags=re.DOTALL)
        for line in html.unescape(block).splitlines()
    ]


@pytest.mark.slow
def test_typed_again_they_give_the_same_run(
    tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "it's here"
    values = tiny_settings()
    del values["space"]  # the recipe's
    write_settings(folder, values)
    search = (
        "search",
        "--config",
        "it's here/noah.yaml",
        "--recipe",
        "quick",
        "--seed",
        "3",
        "--budget",
        "params=9000",
    )
    assert noah(*search, "--racing", "off", "--set", "search.population=5", "--run", "first").code == 0
    run = next(tmp_path.glob("runs/*/first"))
    assert noah("report").code == 0
    typed, exact = commands_of((run / "report.html").read_text(encoding="utf-8"))
    contents = []
    for name, command in (("first", ""), ("typed", typed), ("exact", exact)):
        if command:
            outcome = noah_line(f"{command} --run {name}")
            assert outcome.code == 0, outcome.err
        again = run.with_name(name)
        contents.append(
            (
                yaml.safe_load((again / "run.yaml").read_text(encoding="utf-8"))["settings"],
                (again / "search" / "candidates.jsonl").read_bytes(),
                json.loads((again / "search" / "best.json").read_text(encoding="utf-8")),
            )
        )
    assert contents[0] == contents[1]
    assert contents[0][1:] == contents[2][1:]


def repeat(tmp_path: Path, options: Mapping[str, object], budgets: tuple[str, ...] = (), **facts: object) -> list[str]:
    settings, origins = resolve(option_layers(**options, budget=budgets))
    description = {"settings": settings.model_dump(mode="json"), "origins": origins, **facts}
    return list(gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands)


def test_options_are_quoted_and_in_a_readable_order(tmp_path: Path) -> None:
    found = repeat(tmp_path, {"seed": 4, "data": "my photos"})
    assert found == ["noah search --data 'my photos' --seed 4"]


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        (("params=0.5M",), "--budget params=500000"),
        (("macs=1.1x", "latency=12ms"), "--budget macs=1.1x --budget latency=12ms"),
        (("none",), "--budget none"),
        (("none", "params=9k"), "--budget none --budget params=9000"),
    ],
)
def test_budgets(tmp_path: Path, typed: tuple[str, ...], spelled: str) -> None:
    found = repeat(tmp_path, {"dataset": "digits"}, budgets=typed)
    assert found == [f"noah search --dataset digits {spelled}"]


@pytest.mark.parametrize(
    ("names", "spelled"),
    [
        (["none"], "--track none"),
        (["wandb"], "--track wandb"),
        (["wandb", "tensorboard"], "--track wandb --track tensorboard"),
    ],
)
def test_trackers(tmp_path: Path, names: list[str], spelled: str) -> None:
    settings, origins = resolve(option_layers(seed=4, track=names))
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands
    assert found == (f"noah search --seed 4 {spelled}",)


def test_a_subnet_of_a_front_is_found_by_its_run(tmp_path: Path) -> None:
    """--run cannot stand beside a settings file that names a dataset, so the exact command has no such file."""
    settings, origins = resolve([Layer(source="run digits/ID", values={"data": {"dataset": "digits"}})])
    origins = dict.fromkeys(origins, "run digits/ID")
    description = {
        "settings": settings.model_dump(mode="json"),
        "origins": origins,
        "given": {"spelling": "pareto:2", "searched": "digits/ID"},
        "choices": [{"what": "device", "value": "cpu", "reason": "no GPU"}],
    }
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml")
    assert found.commands == ("noah retrain --subnet pareto:2 --run digits/ID",)
    assert found.exact == "noah retrain --subnet pareto:2 --run digits/ID --device cpu"
    assert not found.is_from_file
    assert found.notes == ("The subnet is from the Pareto front of the run digits/ID, which must still exist.",)
    settings, origins = resolve(option_layers(dataset="digits"))  # of the run that was the latest then
    description |= {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml")
    assert found.exact == "noah retrain --subnet pareto:2 --config settings.yaml --device cpu"
    assert found.notes == ("The subnet is from the Pareto front of the run digits/ID, which must be the latest.",)


def test_another_folder_of_runs_is_named_by_every_command(tmp_path: Path) -> None:
    run, runs = Run(tmp_path / "digits" / "first"), Path("my runs")
    for stage, name in (("retrain", "model.json"), ("eval", "test.json")):
        run.path(stage).mkdir(parents=True)
        run.path(stage, name).write_text("{}")
    manifest = make_manifest(Path(__file__))
    model = Runnable(tmp_path, "model.onnx", "onnx-fp32", "")
    artifact = Artifact("onnx-fp32", manifest, 1.0, Proportion(1, 2), model, (model,))
    exported = Exported((artifact,), (), NONE, "")
    settings, origins = resolve(option_layers(dataset="digits"))
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(run, description, exported, "settings.yaml", runs)
    assert found.commands == (
        "noah search --dataset digits --runs 'my runs'",
        "noah retrain --runs 'my runs'",
        "noah eval --runs 'my runs'",
        "noah export --format onnx --precision fp32 --batch 8:8:8 --runs 'my runs'",
        "noah eval 'my runs/latest/export/onnx-fp32' --runs 'my runs'",
    )
    assert found.exact == "noah search --config settings.yaml --runs 'my runs'"
    plain = gather_repeat(run, description, exported, "settings.yaml")
    assert plain.commands[-1] == "noah eval runs/latest/export/onnx-fp32"
    assert not any("--runs" in command for command in (*plain.commands, plain.exact))


def test_what_the_manifest_of_8_bits_does_not_tell_is_noted(tmp_path: Path) -> None:
    record = quantized("not smoothed", ranges="each batch when it is run")
    manifest = make_manifest(Path(__file__), precision="int8-dynamic", quantization=record)
    exported = Exported((Artifact("onnx-int8-dynamic", manifest, 1.0, None, None, ()),), (), NONE, "")
    settings, origins = resolve(option_layers(dataset="digits"))
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, exported, "settings.yaml")
    assert found.notes == ("The manifest of onnx-int8-dynamic does not tell whether --no-smooth was given.",)


def test_a_given_subnet_is_trained_again(tmp_path: Path) -> None:
    found = repeat(tmp_path, {"dataset": "digits"}, given={"spelling": "lora:8+adapter:4"})
    assert found == ["noah retrain --subnet lora:8+adapter:4 --dataset digits"]


def test_what_was_planned_is_planned_again_but_for_what_was_timed(tmp_path: Path) -> None:
    """The same images and backbone give the same plan; another machine would find other epochs for a time limit."""
    settings, origins = resolve([recipe_layer("auto"), *option_layers(seed=4)])
    origins |= {"retrain.batch_size": f"{PLANNED}few images", "retrain.epochs": f"{LIMITED}what fits"}
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands
    assert found == ("noah search --recipe auto --seed 4 --set retrain.epochs=100",)


def read_back(command: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that a command sets, read by the command line itself: by --set, and by other options."""
    _, name, *words = shlex.split(command)
    group: Any = typer.main.get_command(app)
    given = group.commands[name].make_context(name, words).params
    chosen = [assignment_layer(text) for text in given.pop("assignments") or []]
    return (
        {key: value for layer in chosen for key, value in flatten(layer.values)},
        {option: value for option, value in given.items() if value not in (None, [], (), False)},
    )


@pytest.mark.parametrize("method", [SEARCHED, "lora:8"])
def test_a_run_of_a_sweep_is_repeated_by_plain_settings(tmp_path: Path, method: str) -> None:
    """Its suite is no settings file, and no other command knows its --seeds, or means the same by --workers."""
    sweep = SweepSettings(
        SUITES["pocket"],
        recipe_layer("demo"),
        (
            *option_layers(budget=["macs=1.1x"], data_root="my data"),
            Layer(source="--workers", values={"hardware": {"threads": 3}}),
            Layer(source="this cluster", values={"hardware": {"device": "cpu", "precision": "fp32"}}),
            Layer(source="this sweep", values={"hardware": {"augmentation_workers": 0}}),
        ),
    )
    cell = Cell(sweep.suite.tasks[0].name, method, 2)
    settings, origins = sweep.of_cell(cell)
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    given = {} if cell.subnet is None else {"given": {"spelling": cell.subnet}}
    found = gather_repeat(Run(tmp_path), {**description, **given}, NONE, "settings.yaml")
    assert found.notes == ()
    chosen, options = read_back(found.commands[0])
    suite = {key for key, source in origins.items() if source == "suite pocket"}
    assert suite
    values = dict(flatten(settings.model_dump(mode="json")))
    machine = {f"hardware.{key}" for key in ("threads", "device", "precision", "augmentation_workers")}
    bounds = {"budget.macs"} if given else set()  # `noah retrain` has no --budget
    assert chosen == {key: values[key] for key in {*suite, *machine, *bounds, "seed"}}
    assert (options["recipe"], options["data_root"]) == ("demo", Path("my data"))
    assert options.keys() == {"recipe", "data_root", "runs"} | ({"subnet"} if given else {"budget", "workers"})


def test_what_python_names_and_a_command_does_not_is_set(tmp_path: Path) -> None:
    asked = {
        "dataset": "digits",
        "population": 12,
        "near": True,
        "allow_copies": False,
        "columns": {"path": "yes", "label": "1"},
        "backbone_arg": ["a=1", "b=2"],
        "bit_depth": 12,
    }
    settings, origins = resolve(run_layers(asked, {"data.groups": "[a-z]"}))
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    chosen, options = read_back(gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands[0])
    assert chosen == {
        "search.population": 12,
        "data.near_duplicates": True,
        "data.allow_copies": False,
        "data.columns.path": "yes",
        "data.columns.label": "1",
        "backbone.arguments": ["a=1", "b=2"],
        "data.groups": "[a-z]",
    }
    assert (options["dataset"], options["bit_depth"]) == ("digits", "12")


@pytest.mark.parametrize("name", SINGLE_OPTIONS)
def test_the_options_that_take_a_setting_as_it_is_are_those_of_the_command(name: str) -> None:
    group: Any = typer.main.get_command(app)
    found = [option for option in group.commands[name].params if option.param_type_name == "option"]
    others = {*NO_SETTING, "subnet", "from_run", "name"}
    singles = {each.opts[0] for each in found if not (each.is_flag or each.multiple) and each.name not in others}
    assert singles == {*SINGLE_OPTIONS[name]}
