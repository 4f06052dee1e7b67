"""What docs/deploy.md shows is true: its Python runs, its figures are those of the tables."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import get_args

import pytest

from export.artifact.records import Precision
from export.artifact.tolerances import TOLERANCES
from export.runtime.tensorrt_package import PORTABLE_TARGETS, known_targets, load_package
from tests.commands import PROJECT, noah
from tests.finished import UINT8, Finished

DOCUMENT = (PROJECT / "docs" / "deploy.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)


@pytest.mark.parametrize("photo", ["circle/03.png", "stripes/01.png"])
def test_its_python_gives_what_predict_gives(
    finished: Finished,
    photo_folder: Path,
    photo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(finished.artifact(UINT8) / "model.onnx", tmp_path)
    shutil.copy(photo_folder / "test" / photo, tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    (block,) = PYTHON
    exec(compile(block, "deploy.md", "exec"), {})  # the document is ours
    printed = capsys.readouterr().out.strip()
    rows = noah("predict", finished.artifact(UINT8), "photo.png").out.splitlines()
    assert printed == rows[1].split(",")[1]


def test_its_tolerances_are_those_of_the_table() -> None:
    for precision in get_args(Precision):
        tolerance = TOLERANCES[precision, "logits"]
        assert f"| {precision} | {tolerance.max_difference:.0e}".replace("e-0", "e-") in DOCUMENT
        assert f", {tolerance.mean_difference:.0e}".replace("e-0", "e-") in DOCUMENT


def test_its_targets_are_those_of_the_package() -> None:
    text = " ".join(DOCUMENT.split())
    *first, last = known_targets(load_package("tensorrt-rtx"))
    assert f"{', '.join(first)} and {last} can be named" in text
    *first, last = (target.removeprefix("sm") for target in PORTABLE_TARGETS["fp16"])
    assert f"the engine is for sm{', '.join(first)} and {last}, in bf16 from {PORTABLE_TARGETS['bf16'][0]} up" in text
