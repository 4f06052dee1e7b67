"""`noah benchmark vtab` on miniature tasks, as typed: processes, a failing method, tables, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.commands import file_contents, noah_line, write_settings
from tests.conftest import TinySettings
from tests.vtab import write_vtab

SWEEP = "noah benchmark vtab --tasks cifar100,dtd --methods noah,linear --seeds 0,1"


@pytest.fixture
def folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two tasks in the published layout, and settings of seconds."""
    settings = tiny_settings({"retrain.epochs": 1, "supernet.epochs": 1, "search.generations": 0})
    del settings["data"]
    shutil.copy(settings["backbone"]["name"], tmp_path / "tiny.safetensors")
    settings["backbone"]["name"] = "tiny.safetensors"
    write_settings(tmp_path, settings)
    for task in ("cifar", "dtd"):
        write_vtab(tmp_path / "data" / "vtab-1k" / task)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_processes_then_the_same_with_nothing_left(folder: Path) -> None:
    first = noah_line(f"{SWEEP} --workers 2 --threads 1")
    assert (first.code, first.err) == (0, "")
    assert "8 cells (2 tasks, 2 methods, seeds 0,1); 0 are done already" in first.words
    assert "workers 2 processes with 1 thread each" in first.words
    assert first.words.count("noah seed") == 4 == first.words.count("linear seed")  # its row
    results = folder / "benchmarks" / "vtab"
    assert len(list((results / "rows").iterdir())) == 8
    before = file_contents(folder)

    whole = noah_line(SWEEP)
    assert whole.code == 0
    assert "8 cells (2 tasks, 2 methods, seeds 0,1); 8 are done already" in whole.words
    assert "training" not in whole.out
    assert file_contents(folder) == before
    assert "natural: test accuracy in percent" in whole.words
    assert "paper: NOAH 80.3 84.9 61.3 75.5 73.2" in whole.words
    lines = list(csv.DictReader((results / "table.csv").open()))
    assert [(line["task"], line["method"], line["seed"]) for line in lines[:3]] == [
        ("cifar", "linear", "0"),
        ("cifar", "linear", "1"),
        ("cifar", "noah", "0"),
    ]
    row = json.loads((results / "rows" / "dtd-noah-seed1.json").read_text())
    test = json.loads((results / "runs" / "dtd" / "dtd-noah-seed1" / "eval" / "test.json").read_text())
    assert (row["correct"], row["total"], row["subnet"]) == (test["correct"], test["total"], test["subnet"])
    shown = noah_line("noah benchmark vtab --tasks dtd --methods linear --seeds 1 --only-tables")
    assert shown.code == 0
    assert "dtd 1" in shown.words and "dtd 0" not in shown.words and "cifar" not in shown.words
    assert file_contents(folder) == before  # the files are those of all rows, whatever is shown
    refused = noah_line("noah benchmark pocket --only-tables --out benchmarks/vtab")
    assert refused.error_lines == [
        "Error: benchmarks/vtab holds rows of the suite vtab.",
        "Name that suite.",
    ]
    assert noah_line("noah benchmark vtab --only-tables --out nowhere").error_lines[0] == (
        "Error: There is no sweep in nowhere."
    )
    assert file_contents(folder) == before
    assert not (folder / "runs").exists()  # a person's own latest run stays what it was


def test_what_fails_is_told_at_the_end_and_the_rest_is_done(folder: Path) -> None:
    outcome = noah_line("noah benchmark vtab --tasks svhn,dtd --methods published,lora:2 --seeds 3 --out here")
    assert outcome.code == 1
    assert outcome.out.count("No VTAB-1k folder svhn") == 3  # once as it happens, twice at the end
    assert "failed    dtd published seed 3: --subnet published:dtd: it is for 12 blocks, and the backbone has 6." in (
        outcome.out.replace("\n          ", " ")
    )
    assert outcome.words.count("hint The lists") <= 1 and "Put it at data/vtab-1k/svhn" in outcome.words
    assert "next type the same command to try the failed ones again" in outcome.words
    assert [path.name for path in sorted((folder / "here" / "rows").glob("*.json"))] == ["dtd-lora-2-seed3.json"]


def test_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("noah.benchmark.sweep.retrain", stage)
    outcome = noah_line(SWEEP)
    assert outcome.code == 130
    assert outcome.err == "\nInterrupted. Go on with: the same command; finished work is not repeated\n"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--tasks cifra", "Error: --tasks: the suite vtab has no 'cifra'."),
        ("--methods lora", "Error: --methods: 'lora' is not a method."),
        ("--seeds a", "Error: --seeds: 'a' is not a seed."),
        ("--shard 1/2", "Error: --shard is gone: work is no longer divided by hand."),
        ("--ray --workers 2", "Error: --workers starts processes of this machine, and --ray places them itself."),
        ("--recipe vtb", "Error: No recipe is named 'vtb'."),
        ("--set retrain.epoch=3", "Error: retrain.epoch: unknown setting (--set); did you mean retrain.epochs?"),
    ],
)
def test_what_is_refused(folder: Path, options: str, line: str) -> None:
    before = file_contents(folder)
    outcome = noah_line(f"noah benchmark vtab {options}")
    assert outcome.code == 2
    assert outcome.error_lines[0] == line
    assert len(outcome.error_lines) == 2
    assert file_contents(folder) == before


def test_other_settings_are_not_mixed(folder: Path) -> None:
    command = "noah benchmark vtab --tasks dtd --methods linear --seeds 0"
    assert noah_line(command).code == 0
    outcome = noah_line(f"{command} --set retrain.epochs=2")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: retrain.epochs: the sweep in benchmarks/vtab has 1, not 2",
        "Leave the change out, or choose another folder with --out.",
    ]
