"""What the README shows is true: its Python runs, its commands and make targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from noah_cli.app import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
def test_python_runs_and_prints_what_its_comment_says(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block, "README.md", "exec"), {})  # the README is ours
    promised = re.findall(r"print\(.*\)  # .*: (\S+)$", block, flags=re.MULTILINE)
    assert capsys.readouterr().out.split() == promised


def test_commands_exist() -> None:
    known = set(get_command(app).commands)  # type: ignore[attr-defined]  # a group of commands
    shown = set(re.findall(r"(?:`|^    |^\$ )noah ([a-z]+)", README, flags=re.MULTILINE))
    assert shown
    assert shown <= known


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_links_lead_to_files(link: str) -> None:
    assert (ROOT / link).exists()
