"""Options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from noah.errors import UsageError
from noah.latest import DEFAULT_RUNS, write_latest
from noah.layers import Layer
from noah_cli.options import option_layers, parse_budget, run_options


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("params=0.64M", 640_000),
        ("params=0.5m", 500_000),
        ("params=500k", 500_000),
        ("params=1.5K", 1_500),
        ("params=.5M", 500_000),
        ("params=640000", 640_000),
        (" params=1 ", 1),
        ("none", None),
        (" NONE ", None),
    ],
)
def test_budgets(text: str, parameters: int | None) -> None:
    assert parse_budget(text) == parameters


@pytest.mark.parametrize(
    "text",
    ["", "0.64M", "params", "params=", "params=0", "params=0.0000001k", "params=-5", "params=1e6", "params=1G",
     "params=1,000", "params=1.2.3", "latency=5ms", "params=0.64M latency=5", "params=٣"],
)  # fmt: skip
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_budget(text)
    assert str(raised.value) == f"--budget {text}: not a budget.\nWrite it as --budget params=0.64M, or --budget none."


def test_only_options_that_were_given_become_layers() -> None:
    layers = option_layers(image_size=("backbone.image_size", 32), seed=("seed", 0), dataset=("data.dataset", None))
    assert layers == [
        Layer(source="--image-size", values={"backbone": {"image_size": 32}}),
        Layer(source="--seed", values={"seed": 0}),  # 0 is a value, not nothing
    ]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return DEFAULT_RUNS


def test_the_latest_run_needs_no_options(runs: Path) -> None:
    write_latest(runs, "shapes/first")
    assert run_options(runs / "shapes/first", runs) == ""
    assert run_options(runs / "shapes/first", runs, always=True) == " --run shapes/first"


def test_another_run_is_named(runs: Path) -> None:
    write_latest(runs, "shapes/second")
    assert run_options(runs / "shapes/first", runs) == " --run shapes/first"


def test_another_folder_of_runs_is_named(runs: Path) -> None:
    write_latest(Path("my runs"), "my photos/first")
    options = run_options(Path("my runs/my photos/first"), Path("my runs"), always=True)
    assert shlex.split(options) == ["--run", "my photos/first", "--runs", "my runs"]
    assert run_options(Path("my runs/my photos/first"), Path("my runs")) == " --runs 'my runs'"


def test_a_run_outside_the_folder_of_runs_is_named_by_its_path(runs: Path) -> None:
    assert run_options(Path("/somewhere/else/first"), runs) == " --run /somewhere/else/first"
