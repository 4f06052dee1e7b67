"""`noah runs`: what it lists, and that it removes what is named and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from noah.files.lock import exclusive
from tests.commands import file_contents, noah
from tests.finished import Finished


@pytest.fixture
def several(project: Finished) -> Path:
    """runs/ with the finished run, a searched one, one that has only begun, and a damaged one; first is the latest."""
    runs = project.folder / "runs"
    for name, kept in (("searched", ("search", "supernet")), ("begun", ()), ("damaged", ())):
        folder = runs / "shapes" / name
        folder.mkdir()
        shutil.copy(project.run / "run.yaml", folder)
        for part in kept:
            shutil.copytree(project.run / part, folder / part)
    (runs / "shapes" / "damaged" / "run.yaml").write_text("settings: [")
    return runs


def test_the_list_fits_80_columns_and_says_stage_accuracy_and_size(several: Path) -> None:
    outcome = noah("runs")
    assert outcome.code == 0, outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 80
    accuracy = json.loads((several / "shapes" / "first" / "eval" / "test.json").read_text())["accuracy"]
    line = next(line for line in outcome.out.splitlines() if "shapes/first *" in line)
    assert "tested" in line
    assert f"{accuracy:.1%}" in line
    for name in ("searched", "begun", "damaged"):
        assert any(f"shapes/{name} " in line and f" {name}" in line for line in outcome.out.splitlines())
    assert "4 below runs/" in outcome.words


def test_the_same_as_json(several: Path) -> None:
    result = json.loads(noah("runs", "--json").out)
    runs = {run["name"]: run for run in result["runs"]}
    assert {name: run["stage"] for name, run in runs.items()} == {
        "shapes/first": "tested",
        "shapes/searched": "searched",
        "shapes/begun": "begun",
        "shapes/damaged": "damaged",
    }
    first = runs["shapes/first"]
    files = file_contents(several / "shapes" / "first")
    assert first["bytes"] == sum(map(len, files.values()))
    assert (first["is_latest"], first["is_busy"], first["artifacts"]) == (True, False, 2)


def test_no_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = noah("runs")
    assert (outcome.code, outcome.words) == (0, "runs none below runs/")


def test_nothing_is_removed_where_nobody_can_be_asked(several: Path) -> None:
    before = file_contents(several)
    outcome = noah("runs", "--remove", "shapes/begun")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: Nothing was removed, as nobody can be asked here."
    assert file_contents(several) == before


@pytest.mark.parametrize("answer", ["y", "n"])
def test_it_asks_and_says_what_goes(several: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: question == "Remove it for good?" and answer == "y")
    outcome = noah("runs", "--remove", "searched")
    assert outcome.code == (0 if answer == "y" else 1)
    assert "remove shapes/searched: searched, " in outcome.words
    assert (several / "shapes" / "searched").exists() == (answer == "n")
    assert (several / "shapes" / "first").is_dir()


def test_removing_the_latest_says_so_and_names_the_next(several: Path) -> None:
    outcome = noah("runs", "--remove", "latest", "--remove", "shapes/damaged", "--yes")
    assert outcome.code == 0, outcome.err
    assert "remove shapes/first, the latest run: tested, " in outcome.words
    assert "removed shapes/first, shapes/damaged" in outcome.words
    assert sorted(path.name for path in (several / "shapes").iterdir()) == ["begun", "searched"]
    left = (several / "latest").read_text().strip()
    assert left in ("shapes/begun", "shapes/searched")
    assert f"latest is {left} now" in outcome.words
    assert noah("runs", "--remove", "begun", "--remove", "searched", "--yes").code == 0
    assert list(several.iterdir()) == []


def test_a_run_that_a_process_works_on_stays(several: Path) -> None:
    before = set(file_contents(several))
    with exclusive(several / "shapes" / "begun" / "lock", "it"):
        assert json.loads(noah("runs", "--json").out)["runs"][0]["name"]
        outcome = noah("runs", "--remove", "searched", "--remove", "begun", "--yes")
        assert outcome.code == 1
        assert "shapes/begun is not removed: a process is working on it, process " in outcome.error_lines[0]
        assert "begun, busy" in noah("runs").out
    assert before <= set(file_contents(several))


def test_a_run_of_another_folder_is_not_removed(several: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(several / "shapes" / "begun", tmp_path / "else" / "shapes" / "begun")
    outcome = noah("runs", "--remove", elsewhere, "--yes")
    assert outcome.code == 2
    assert "is not a run below runs/" in outcome.error_lines[0]
    assert elsewhere.is_dir()


def test_listing_writes_nothing_and_works_where_nothing_may_be_written(
    several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in (several / "shapes").iterdir():
        (run / "lock").touch()
    before = set(file_contents(several))
    listed = noah("runs").out
    assert set(file_contents(several)) == before

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("noah.runs.listing.is_held", refuse)
    outcome = noah("runs")
    assert (outcome.code, outcome.out) == (0, listed)


def test_a_damaged_pointer_to_the_latest_run_is_noted(several: Path) -> None:
    (several / "latest").write_text("")
    note = "note runs/latest holds no name of a run, so no run counts as the latest; remove that file."
    outcome = noah("runs")
    assert outcome.code == 0, outcome.err
    assert note in outcome.words
    assert "shapes/first *" not in outcome.out and "4 below runs/" in outcome.words
    assert not any(run["is_latest"] for run in json.loads(noah("runs", "--json").out)["runs"])
    outcome = noah("runs", "--remove", "begun", "--yes")
    assert outcome.code == 0, outcome.err
    assert note in outcome.words and "removed shapes/begun" in outcome.words
    assert not (several / "shapes" / "begun").exists() and (several / "latest").read_text() == ""
    outcome = noah("runs", "--remove", "latest", "--yes")
    assert outcome.code == 2
    assert outcome.error_lines[1] == "Name the run itself, as `noah runs` lists it, or remove that file."
