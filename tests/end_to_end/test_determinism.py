"""One seed, one result: bit by bit, on one thread."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.commands import noah, write_settings
from tests.conftest import TinySettings


@pytest.fixture
def working_folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_settings(tmp_path, tiny_settings())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def search_results(folder: Path, name: str, *options: object) -> dict[str, bytes]:
    """Search, and give what the run decided."""
    assert noah("search", "--run", name, *options).code == 0
    run = folder / "runs" / "shapes" / name
    files = ("supernet/checkpoint.safetensors", "search/candidates.jsonl", "search/best.json")
    return {file: (run / file).read_bytes() for file in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(working_folder: Path) -> None:
    first = search_results(working_folder, "first", "--seed", 5)
    again = search_results(working_folder, "again", "--seed", 5)
    other = search_results(working_folder, "other", "--seed", 6)
    assert first == again
    assert all(first[file] != other[file] for file in first)


def test_retraining_the_same_winner_gives_the_same_weights(working_folder: Path) -> None:
    search_results(working_folder, "first")
    assert noah("retrain").code == 0
    weights = working_folder / "runs" / "shapes" / "first" / "retrain" / "checkpoint.safetensors"
    first = weights.read_bytes()
    assert noah("retrain", "--restart").code == 0
    assert weights.read_bytes() == first


def test_the_description_of_a_run_alone_repeats_it(working_folder: Path) -> None:
    """Not the recipe, nor the settings file of the folder, nor the options: all that counts is in run.yaml."""
    options = ("--seed", 5, "--recipe", "quick", "--set", "search.generations=2", "--budget", "macs=1.2x")
    first = search_results(working_folder, "first", *options)
    kept = (working_folder / "runs/shapes/first/run.yaml").rename(working_folder / "kept.yaml")
    shutil.rmtree(working_folder / "runs")
    write_settings(working_folder, {"search": {"population": 3}, "budget": {"parameters": 20_000}})
    assert search_results(working_folder, "again", "--config", kept.name) == first
    assert search_results(working_folder, "other", "--config", kept.name, "--seed", 6) != first
    again = yaml.safe_load((working_folder / "runs/shapes/again/run.yaml").read_text())
    assert again["settings"] == yaml.safe_load(kept.read_text())["settings"]
    assert again["origins"]["seed"] == "kept.yaml"


def test_a_recipe_beside_the_description_of_a_run_is_refused(working_folder: Path) -> None:
    search_results(working_folder, "first")
    path = "runs/shapes/first/run.yaml"
    outcome = noah("search", "--config", path, "--recipe", "quick", "--run", "second")
    assert outcome.code == 2
    assert outcome.error_lines == [
        f"Error: --recipe quick: {path} already has every setting.",
        "Leave out --recipe or that file.",
    ]
