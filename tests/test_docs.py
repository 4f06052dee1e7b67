"""What the documents show is true: commands and options exist, links lead somewhere, tables are those of the rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from noah.benchmark.rows import read_rows
from noah.benchmark.suites import POCKET
from noah.benchmark.tables import found_in, sweep_tables, to_csv, to_markdown
from noah_cli.app import app
from noah_cli.command_reference import command_reference

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "docs" / "pocket"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group of commands
    for line in re.findall(r"^    (noah .*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE):
        _, name, *words = line.split()
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_the_reference_of_the_commands_is_that_of_the_command_line() -> None:
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == command_reference(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / link).exists(), link


def test_the_pocket_tables_are_those_of_the_rows() -> None:
    rows = read_rows(RESULTS, POCKET)
    tables = to_markdown(sweep_tables(POCKET, *found_in(POCKET, rows), rows))
    assert rows
    assert (RESULTS / "table.md").read_text(encoding="utf-8") == tables
    assert (RESULTS / "table.csv").read_text(encoding="utf-8") == to_csv(POCKET, rows)
    assert tables in (ROOT / "docs" / "pocket.md").read_text(encoding="utf-8")
