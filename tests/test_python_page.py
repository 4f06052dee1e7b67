"""Every example of docs/python.md runs as written, in the order of the page, on few images with tiny settings."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import write_settings
from tests.conftest import TinySettings
from tests.documents import read_document

BLOCKS = re.findall(r"```python\n(.*?)```", read_document("python.md"), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.usefixtures("kept_exports")
def test_every_example_runs_as_written(
    tmp_path: Path,
    tiny_settings: TinySettings,
    tiny_backbone_file: Path,
    photo_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = tiny_settings({"search.population": 3, "search.parents": 2, "retrain.epochs": 1, "supernet.epochs": 1})
    del settings["data"], settings["budget"]
    settings["backbone"]["name"] = "vit.safetensors"
    write_settings(tmp_path, settings)
    shutil.copy(tiny_backbone_file, tmp_path / "vit.safetensors")
    shutil.copytree(photo_folder, tmp_path / "photos")
    (tmp_path / "more_photos").mkdir()
    for number, path in enumerate(sorted((photo_folder / "test").glob("*/00.png"))):
        shutil.copy(path, tmp_path / "more_photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = []
    for block in BLOCKS:
        exec(compile(block, "docs/python.md", "exec"), names)  # the page is ours
        printed.append(capsys.readouterr())
    assert [each.err for each in printed] == [""] * len(BLOCKS)
    assert len(printed[0].out.splitlines()) == 1 + 3  # the accuracy, then a line for each image
    assert printed[-1].out == "search.populaton: unknown setting (--set); did you mean search.population?\n"
    assert names["summary"].images == 3
    assert {path.name for path in Path("runs/photos").iterdir()} >= {"first", "plain-lora"}
