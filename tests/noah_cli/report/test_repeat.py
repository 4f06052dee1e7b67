"""The commands on the page repeat the run."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
import yaml

from noah.runs.folder import Run
from noah.settings.layers import LIMITED, PLANNED, recipe_layer, resolve
from noah.settings.option_layers import budget_layers, option_layers, track_layers
from noah_cli.report.reading import Missing
from noah_cli.report.repeat import gather_repeat
from tests.commands import noah, noah_line, write_settings
from tests.conftest import TinySettings

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


def repeat(
    tmp_path: Path, *options: tuple[str, str, object], budgets: tuple[str, ...] = (), **facts: object
) -> list[str]:
    layers = [layer for name, key, value in options for layer in option_layers(**{name: (key, value)})]
    settings, origins = resolve([*layers, *budget_layers(budgets)])
    description = {"settings": settings.model_dump(mode="json"), "origins": origins, **facts}
    return list(gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands)


def test_options_are_quoted_and_in_a_readable_order(tmp_path: Path) -> None:
    found = repeat(tmp_path, ("seed", "seed", 4), ("data", "data.folder", "my photos"))
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
    found = repeat(tmp_path, ("dataset", "data.dataset", "digits"), budgets=typed)
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
    settings, origins = resolve([*option_layers(seed=("seed", 4)), *track_layers(names)])
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands
    assert found == (f"noah search --seed 4 {spelled}",)


def test_a_given_subnet_is_trained_again(tmp_path: Path) -> None:
    found = repeat(tmp_path, ("dataset", "data.dataset", "digits"), given={"spelling": "lora:8+adapter:4"})
    assert found == ["noah retrain --subnet lora:8+adapter:4 --dataset digits"]


def test_what_was_planned_is_planned_again_but_for_what_was_timed(tmp_path: Path) -> None:
    """The same images and backbone give the same plan; another machine would find other epochs for a time limit."""
    settings, origins = resolve([recipe_layer("auto"), *option_layers(seed=("seed", 4))])
    origins |= {"retrain.batch_size": f"{PLANNED}few images", "retrain.epochs": f"{LIMITED}what fits"}
    description = {"settings": settings.model_dump(mode="json"), "origins": origins}
    found = gather_repeat(Run(tmp_path), description, NONE, "settings.yaml").commands
    assert found == ("noah search --recipe auto --seed 4 --set retrain.epochs=100",)
