"""What the documents show is true: commands and options exist, links lead somewhere, tables are those of the rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

import noah
from noah.benchmark.rows import read_rows
from noah.benchmark.suites import POCKET
from noah.benchmark.tables import found_in, sweep_tables, to_csv, to_markdown
from noah_cli.app import app
from noah_cli.command_reference import command_reference
from tests.documents import read_document, shown_lines

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group of commands
    for line in re.findall(r"^    (noah .*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        _, name, *words = line.split()
        command = commands[name]
        if words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_reference_of_the_commands_is_that_of_the_command_line() -> None:
    found = command_reference(app).replace("FLOAT RANGE", "FLOAT")  # as typer 0.26 says for both
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link


PATH = r"`((?:noah|export|noah_cli|tests|benchmarks|examples|docs/(?:search|steps|pocket|few_shot))/[\w/.-]+)`"
MODULE = r"`((?:noah|export|noah_cli|benchmarks)(?:\.\w+)+)"
OTHERS = {
    "benchmarks/vtab/",
    "export/tensorrt-VERSION-timing.cache",
    "noah.yaml",
    "noah.preprocessing",
    "noah.decoding",
    "noah.classes",
    "noah.temperature",
}
"""What looks like a file or a module of the project: files of a run, a settings file, the notes in an ONNX file."""


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_files_and_modules_of_the_project_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [path for path in re.findall(PATH, text) if not (ROOT / path).exists() and path not in OTHERS] == []
    assert [name for name in re.findall(MODULE, text) if not is_importable(name) and name not in OTHERS] == []


def is_importable(name: str) -> bool:
    """Whether a dotted name is a public one, a module, or a function or class that a module defines."""
    path = ROOT / name.replace(".", "/")
    if name.removeprefix("noah.") in noah.__all__ or path.is_dir() or path.with_suffix(".py").is_file():
        return True
    source = path.parent.with_suffix(".py")
    return source.is_file() and bool(re.search(rf"^(def|class) {path.name}\b", source.read_text("utf-8"), re.MULTILINE))


def test_the_page_of_the_demo_shows_what_make_demo_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(ARTIFACT)", "runs/latest/export/onnx-fp32")
    shown = shown_lines(read_document("demo.md"), "noah|python")
    assert shown == re.findall(
        r"^\t\$\(BIN\)/(.*)$", makefile.partition("\ndemo:")[2].partition("\n\n")[0], flags=re.MULTILINE
    )


def test_the_tests_that_the_page_on_data_names_exist() -> None:
    rows = re.findall(r"\| `([\w/]+\.py)::([\w:]+)` \|$", read_document("data.md"), flags=re.MULTILINE)
    assert len(rows) >= 40
    for file, names in rows:
        sources = ROOT / "tests" / "noah" / "data" / "sources"
        places = (ROOT / file,) if file.startswith("tests/") else (sources / file, ROOT / "tests" / file)
        source = next(place for place in places if place.is_file()).read_text(encoding="utf-8")
        for name in names.split("::"):
            assert re.search(rf"^ *(def|class) {name}\b", source, flags=re.MULTILINE), f"{file}::{names}"


@pytest.mark.parametrize("name", ["pocket", "few_shot"])
def test_the_pocket_tables_are_those_of_the_rows(name: str) -> None:
    results = ROOT / "docs" / name
    rows = read_rows(results, POCKET)
    tables = to_markdown(sweep_tables(POCKET, *found_in(POCKET, rows), rows))
    assert rows
    assert (results / "table.md").read_text(encoding="utf-8") == tables
    assert (results / "table.csv").read_text(encoding="utf-8") == to_csv(POCKET, rows)
    assert tables in (ROOT / "docs" / "pocket.md").read_text(encoding="utf-8")
