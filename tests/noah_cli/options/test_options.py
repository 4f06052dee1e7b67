"""Options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS, write_latest
from noah.settings.layers import Layer
from noah.settings.option_layers import option_layers
from noah_cli.options.options import named_run, run_options


def budget(*texts: str) -> dict[str, object]:
    """The values that --budget gives, told by its one layer."""
    (layer,) = option_layers(budget=texts)
    assert layer.source == "--budget"
    return dict(layer.values["budget"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("params=0.64M", {"parameters": 640_000}),
        ("params=0.5m", {"parameters": 500_000}),
        ("params=500k", {"parameters": 500_000}),
        ("params=1.5K", {"parameters": 1_500}),
        ("params=.5M", {"parameters": 500_000}),
        ("params=640000", {"parameters": 640_000}),
        (" params=1 ", {"parameters": 1}),
        ("macs=1.1x", {"macs": "1.1x"}),
        ("macs=4.5G", {"macs": "4.5G"}),
        ("latency=12ms", {"latency": "12ms"}),
        ("latency = 0.9x", {"latency": "0.9x"}),
        ("none", {"parameters": None, "macs": None, "latency": None}),
        (" NONE ", {"parameters": None, "macs": None, "latency": None}),
    ],
)
def test_budgets(text: str, values: dict[str, object]) -> None:
    assert budget(text) == values


def test_several_budgets() -> None:
    assert option_layers(budget=[]) == []
    assert budget("macs=1.1x", "latency=12ms") == {"macs": "1.1x", "latency": "12ms"}
    assert budget("none", "macs=1x") == {"parameters": None, "macs": "1x", "latency": None}
    with pytest.raises(UsageError) as raised:
        budget("macs=1.1x", "params=1k", "macs=1.2x")
    assert str(raised.value) == (
        "--budget macs=1.2x: a bound on macs is given twice.\nGive each quantity one --budget."
    )


@pytest.mark.parametrize(
    "text",
    ["", "0.64M", "params", "params=", "params=0", "params=0.0000001k", "params=-5", "params=1e6", "params=1G",
     "params=1,000", "params=1.2.3", "params=0.64M latency=5", "params=٣", "latency=5", "latency=0ms", "macs=",
     "macs=0", "macs=0x", "time=5ms", "macs=12ms"],
)  # fmt: skip
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        budget(text)
    assert str(raised.value) == (
        f"--budget {text} is not a budget.\n"
        "Write it as --budget params=0.64M, macs=1.1x, macs=4.5G, latency=12ms or latency=1.1x, or --budget none."
    )


def test_parameters_are_no_multiple_of_the_backbone_s() -> None:
    with pytest.raises(UsageError) as raised:
        budget("params=1.1x")
    assert str(raised.value) == (
        "--budget params=1.1x: parameters cannot be bounded by a multiple of the backbone's.\n"
        "The plain backbone trains none of its own; write a number, as in --budget params=0.64M."
    )


def test_only_options_that_were_given_become_layers() -> None:
    layers = option_layers(image_size=32, seed=0, dataset=None, budget=[])
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


def test_a_run_is_named_once_as_an_argument_or_an_option() -> None:
    assert [named_run(None, None), named_run("a", None), named_run(None, "b")] == [None, "a", "b"]
    with pytest.raises(UsageError, match="given twice: a and --run b"):
        named_run("a", "b")
